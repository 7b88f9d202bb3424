//! Host names and authorities: one spelling each, and never one that two parsers read differently.

use shared::authority::{Authority, Host, HostPattern};

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(host) = text.parse::<Host>() {
        let told = host.to_string();
        assert_eq!(told.parse::<Host>(), Ok(host.clone()), "{text:?} is told as {told:?}");
        assert!(told.is_ascii() && told == told.to_ascii_lowercase(), "{told:?}");
        assert!(!told.contains(['@', '/', '\\', '%', ' ', '?', '#', '\0']), "{told:?}");
        if let Host::Name(name) = &host {
            assert!(name.len() <= 253 && name.split('.').all(|label| (1..=63).contains(&label.len())), "{name:?}");
            // What the C library would read as an address is none of our names.
            assert!(name.parse::<std::net::IpAddr>().is_err(), "{name:?}");
            assert!(!name.rsplit('.').next().unwrap_or_default().bytes().all(|byte| byte.is_ascii_digit()), "{name:?}");
        }
    }
    if let Ok(authority) = text.parse::<Authority>() {
        assert_ne!(authority.port, 0);
        assert_eq!(authority.to_string().parse::<Authority>(), Ok(authority));
    }
    if let Ok(authority) = Authority::parse(text, 443) {
        assert!(!text.contains('@'), "{text:?}");
        assert_eq!(authority.to_string().parse::<Authority>(), Ok(authority));
    }
    if let Ok(pattern) = text.parse::<HostPattern>() {
        assert_eq!(pattern.to_string().parse::<HostPattern>(), Ok(pattern));
    }
}
