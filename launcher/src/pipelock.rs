//! pipelock's configuration as our inspector: one text for all bottles, but for two switches that the route table sets.
//! Names no host but the inner face and holds no secret.

use shared::authority::Host;
use shared::routes::{InspectMode, Routes};

/// Where pipelock's image holds it.
pub const CONFIGURATION: &str = "/pipelock.yaml";

/// The configuration for a bottle with these routes.
pub fn configuration(routes: &Routes) -> String {
    let answers =
        if routes.iter().any(|route| route.inspect == Some(InspectMode::Exchange)) { SCAN_ANSWERS } else { DISABLED };
    // Chat text is full of short words in a row, which is what a seed phrase looks like.
    let seed_phrases = if talks_to_claude(routes) { DISABLED } else { "{enabled: true}" };
    TEMPLATE.replace("@RESPONSE_SCANNING@", answers).replace("@SEED_PHRASE_DETECTION@", seed_phrases)
}

fn talks_to_claude(routes: &Routes) -> bool {
    CLAUDE.parse::<Host>().is_ok_and(|host| routes.find(&host).is_some())
}

const TEMPLATE: &str = include_str!("../../images/pipelock/inspector.yaml");
const DISABLED: &str = "{enabled: false}";
const SCAN_ANSWERS: &str =
    "{enabled: true, action: block, sse_streaming: {enabled: true, action: block, max_event_bytes: 1048576}}";
const CLAUDE: &str = "api.anthropic.com";

#[cfg(test)]
mod tests {
    use shared::routes::Route;

    use super::*;

    fn routes(host: &str, inspect: Option<InspectMode>) -> Routes {
        let route = Route { inspect, ..Route::bare(host.parse().unwrap()) };
        Routes::new(vec![route]).unwrap()
    }

    #[test]
    fn seed_phrases_are_looked_for_unless_the_bottle_talks_to_claude() {
        assert!(configuration(&routes("example.com", None)).contains("seed_phrase_detection: {enabled: true}"));
        assert!(configuration(&routes(CLAUDE, None)).contains("seed_phrase_detection: {enabled: false}"));
        assert!(configuration(&routes("*.anthropic.com", None)).contains("seed_phrase_detection: {enabled: false}"));
    }

    #[test]
    fn answers_are_scanned_where_a_route_asks_for_it() {
        let scanned = configuration(&routes("example.com", Some(InspectMode::Exchange)));
        assert!(scanned.contains("response_scanning: {enabled: true, action: block"));
        assert!(configuration(&routes("example.com", None)).contains("response_scanning: {enabled: false}"));
    }

    #[test]
    fn no_switch_is_left_open() {
        assert!(!configuration(&Routes::default()).lines().skip(1).any(|line| line.contains('@')));
    }
}
