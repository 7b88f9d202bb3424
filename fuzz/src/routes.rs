//! Route tables: any text is a table or a list of located mistakes, and a table that is told reads back as itself.

use shared::{
    routes::{Dialect, decode},
    yaml::Diagnostics,
};

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for dialect in [Dialect::Proxy, Dialect::Manifest] {
        let mut log = Diagnostics::default();
        let Some(routes) = decode(text, dialect, &mut log) else {
            assert!(!log.is_empty(), "refused without a reason");
            // Locating a mistake is parsing too.
            let _told = log.report("routes.yaml", text).to_string();
            continue;
        };
        assert!(log.is_empty());
        let told = routes.to_json();
        let again = decode(&told.to_string(), dialect, &mut log);
        assert_eq!(again.map(|again| again.to_json()), Some(told));
    }
}
