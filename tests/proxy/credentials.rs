//! Credentials: the agent's are taken off, the route's is put on, and no value is ever told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harness::client::{Client, get, post, with};
use harness::origin::Origin;
use harness::pki::Pki;
use harness::proxy::{Proxy, Setup, routes};
use serde_json::json;

use crate::{CREDENTIAL, Stage, says};

/// Every field that carries a credential by custom.
const CUSTOMARY: [&str; 8] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "private-token",
    "x-auth-token",
    "job-token",
];

#[tokio::test]
async fn bearer_is_injected_and_the_credential_is_named_in_the_record() {
    let mut stage = Stage::with_auth("scheme: Bearer").await;
    stage.client().get(&stage.url("/echo")).await.says(200, &[]);
    let arrival = stage.origin.next_arrival().await;
    assert_eq!(arrival.value("authorization"), Some(&*format!("Bearer {CREDENTIAL}")));
    says(&stage.proxy.exchange().await, json!({"credential": "TOKEN"}));
}

#[tokio::test]
async fn token_is_injected() {
    let stage = Stage::with_auth("scheme: token").await;
    stage.client().h2().get(&stage.url("/echo")).await.says(200, &[]);
    let arrival = stage.origin.next_arrival().await;
    assert_eq!(arrival.value("authorization"), Some(&*format!("token {CREDENTIAL}")));
}

#[tokio::test]
async fn basic_with_a_user_name_takes_the_token_as_password() {
    let stage = Stage::with_auth("scheme: Basic, username: ada").await;
    stage.client().get(&stage.url("/echo")).await.says(200, &[]);
    let encoded = STANDARD.encode(format!("ada:{CREDENTIAL}"));
    assert_eq!(stage.origin.next_arrival().await.value("authorization"), Some(&*format!("Basic {encoded}")));
}

#[tokio::test]
async fn basic_without_a_user_name_takes_the_token_as_both() {
    let pair = "ada:correct horse battery";
    let stage = Stage::with("auth: {scheme: Basic, token_env: TOKEN}", |setup| setup.env("TOKEN", pair)).await;
    stage.client().get(&stage.url("/echo")).await.says(200, &[]);
    let encoded = STANDARD.encode(pair);
    assert_eq!(stage.origin.next_arrival().await.value("authorization"), Some(&*format!("Basic {encoded}")));
}

#[tokio::test]
async fn a_field_of_its_own_is_injected() {
    let stage = Stage::with_auth("scheme: header, header: X-Custom-Key").await;
    let request = with(get(&stage.url("/echo")), "x-custom-key", "the agent's own");
    stage.client().send(request).await.says(200, &[]);
    let arrival = stage.origin.next_arrival().await;
    assert_eq!(arrival.values("x-custom-key"), [CREDENTIAL]);
    assert_eq!(arrival.value("authorization"), None);
}

#[tokio::test]
async fn a_parameter_is_injected_in_place_of_the_agents_and_told_nowhere() {
    let secret = "s3cr3t/value+with?odd&bytes";
    let encoded = "s3cr3t%2Fvalue%2Bwith%3Fodd%26bytes";
    for client in [|c: Client| c, |c: Client| c.h2()] {
        let mut stage =
            Stage::with("auth: {scheme: query, parameter: key, token_env: TOKEN}", |setup| setup.env("TOKEN", secret))
                .await;
        let answer = client(stage.client()).get(&stage.url("/echo?a=%2f&key=own-1234567&b")).await;
        answer.says(200, &[]);
        let arrival = stage.origin.next_arrival().await;
        assert_eq!(arrival.target, format!("/echo?a=%2f&b&key={encoded}"));
        // The origin echoes its target: masked at the same length.
        assert!(!answer.text().contains(encoded) && !answer.text().contains(secret), "{}", answer.text());
        assert!(answer.text().contains(&format!("&key={}", "*".repeat(encoded.len()))), "{}", answer.text());
        let record = stage.proxy.exchange().await;
        says(&record, json!({"credential": "TOKEN", "path": "/echo", "masked": encoded.len()}));
        let ended = stage.proxy.stop().await;
        for text in [secret, encoded, "own-1234567"] {
            assert!(!ended.stdout.contains(text) && !ended.stderr.contains(text), "{text}");
        }
    }
}

#[tokio::test]
async fn a_parameter_never_leaves_in_clear_and_a_redirect_does_not_tell_it() {
    let pki = Pki::new();
    let mut origin = harness::origin::raw::RawOrigin::tls(
        &pki,
        "raw.localhost",
        format!(
            "HTTP/1.1 302 Found\r\nLocation: https://other.localhost/?key={CREDENTIAL}\r\nContent-Length: 0\r\n\r\n"
        ),
    )
    .await;
    let table = "host: raw.localhost, ports: any, auth: {scheme: query, parameter: key, token_env: TOKEN}";
    let mut proxy = Proxy::start(Setup::new(&routes([table])).trusting(&pki).env("TOKEN", CREDENTIAL)).await;
    let answer = proxy.client().get(&format!("https://{}/x", origin.authority())).await;
    assert_eq!(answer.status.as_u16(), 302);
    assert_eq!(answer.field("location"), format!("https://other.localhost/?key={}", "*".repeat(CREDENTIAL.len())));
    assert_eq!(origin.request().await.head().start, format!("GET /x?key={CREDENTIAL} HTTP/1.1"));
    proxy.client().get(&format!("http://{}/x", origin.authority())).await.says(403, &["https"]);
    proxy.exchange().await;
    says(&proxy.exchange().await, json!({"error": "cleartext_credential"}));
    origin.saw_nothing_more();
}

#[tokio::test]
async fn a_credential_comes_from_a_file() {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "api.localhost").await;
    let setup = Setup::bare();
    setup.write("token", &format!("{CREDENTIAL}\n"));
    let table =
        format!("host: api.localhost, ports: any, auth: {{scheme: Bearer, token_file: {}}}", setup.path("token"));
    let proxy = Proxy::start(Setup::new(&routes([&table])).trusting(&pki)).await;
    proxy.client().get(&origin.url("/echo")).await.says(200, &[]);
    assert_eq!(origin.next_arrival().await.value("authorization"), Some(&*format!("Bearer {CREDENTIAL}")));
}

#[tokio::test]
async fn the_agents_credentials_are_taken_off_on_every_route() {
    for auth in ["", "auth: {scheme: Bearer, token_env: TOKEN}"] {
        let stage = Stage::with(auth, |setup| setup.env("TOKEN", CREDENTIAL)).await;
        let request = CUSTOMARY.iter().fold(get(&stage.url("/echo")), |r, name| with(r, name, "Bearer own-1234567"));
        stage.client().send(request).await.says(200, &[]);
        let arrival = stage.origin.next_arrival().await;
        for name in CUSTOMARY {
            assert!(!arrival.values(name).contains(&"Bearer own-1234567"), "{name}: {arrival:?}");
        }
    }
}

#[tokio::test]
async fn a_field_that_any_route_injects_is_taken_off_on_every_route() {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "api.localhost").await;
    let table = routes([
        "host: api.localhost, ports: any",
        "host: other.localhost, auth: {scheme: header, header: X-Special, token_env: TOKEN}",
    ]);
    let proxy = Proxy::start(Setup::new(&table).trusting(&pki).env("TOKEN", CREDENTIAL)).await;
    proxy.client().send(with(get(&origin.url("/echo")), "x-special", "the agent's own")).await.says(200, &[]);
    assert_eq!(origin.next_arrival().await.value("x-special"), None);
}

#[tokio::test]
async fn credentials_are_taken_off_trailers_too() {
    let pki = Pki::new();
    let mut origin =
        harness::origin::raw::RawOrigin::tls(&pki, "raw.localhost", "HTTP/1.1 204 No Content\r\n\r\n").await;
    let proxy = Proxy::start(Setup::new(&routes(["host: raw.localhost, ports: any"])).trusting(&pki)).await;
    let authority = origin.authority();
    let mut inside = proxy.client().raw_inside(&authority).await;
    inside.send(format!(
        "POST / HTTP/1.1\r\nHost: {authority}\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization, X-Sum\r\n\r\n\
         2\r\nhi\r\n0\r\nAuthorization: Bearer own-1234567\r\nX-Sum: 1\r\n\r\n"
    )).await;
    assert_eq!(inside.answer().await.head.status(), 204);
    let request = origin.request().await;
    let text = harness::h1::from_latin1(&request.bytes);
    assert!(!text.contains("own-1234567"), "{text}");
}

#[tokio::test]
async fn what_a_route_keeps_passes() {
    let stage = Stage::granting("keep: [authorization]").await;
    let request =
        with(with(get(&stage.url("/echo")), "authorization", "Bearer own-1234567"), "x-api-key", "own-1234567");
    stage.client().send(request).await.says(200, &[]);
    let arrival = stage.origin.next_arrival().await;
    assert_eq!(arrival.value("authorization"), Some("Bearer own-1234567"));
    assert_eq!(arrival.value("x-api-key"), None);
}

#[tokio::test]
async fn a_stand_in_is_replaced_at_home_and_refused_with_an_alarm_elsewhere() {
    const STAND_IN: &str = "stand-in-0123456789";
    let stage = || {
        Stage::with("auth: {scheme: Bearer, token_env: TOKEN, placeholder: STAND_IN}", |setup| {
            setup.env("TOKEN", CREDENTIAL).env("STAND_IN", STAND_IN)
        })
    };
    let home = stage().await;
    let request = with(get(&home.url("/echo")), "authorization", &format!("Bearer {STAND_IN}"));
    home.client().send(request).await.says(200, &[]);
    let arrival = home.origin.next_arrival().await;
    assert_eq!(arrival.value("authorization"), Some(&*format!("Bearer {CREDENTIAL}")));

    let elsewhere: [fn(&Stage) -> http::Request<harness::origin::Content>; 3] = [
        |stage| with(get(&stage.url("/echo")), "x-other", STAND_IN),
        |stage| get(&stage.url(&format!("/echo?k={STAND_IN}"))),
        |stage| get(&stage.url(&format!("/{STAND_IN}"))),
    ];
    for request in elsewhere {
        let mut stage = stage().await;
        stage.client().send(request(&stage)).await.says(403, &["stand-in"]);
        stage.was_refused(json!({"outcome": "denied", "alarm": true})).await;
    }
}

#[tokio::test]
async fn a_credential_never_leaves_in_clear() {
    let origin = Origin::http("api.localhost").await;
    let table = "host: api.localhost, ports: any, auth: {scheme: Bearer, token_env: TOKEN}";
    let mut proxy = Proxy::start(Setup::new(&routes([table])).env("TOKEN", CREDENTIAL)).await;
    proxy.client().get(&origin.url("/echo")).await.says(403, &["https"]);
    says(&proxy.exchange().await, json!({"outcome": "denied", "error": "cleartext_credential"}));
    origin.saw_nothing();
}

#[tokio::test]
async fn a_real_credential_from_the_agent_is_refused_with_an_alarm() {
    let places: [fn(&Stage, &str) -> http::Request<harness::origin::Content>; 4] = [
        |stage, text| with(get(&stage.url("/echo")), "x-other", text),
        |stage, text| with(get(&stage.url("/echo")), "authorization", &format!("Bearer {text}")),
        |stage, text| get(&stage.url(&format!("/echo?k={text}"))),
        |stage, text| get(&stage.url(&format!("/{text}"))),
    ];
    for place in places {
        let mut stage = Stage::with("auth: {scheme: Bearer, token_env: TOKEN}", |setup| {
            setup.env("TOKEN", CREDENTIAL).arg("--scan").arg("off")
        })
        .await;
        let answer = stage.client().send(place(&stage, CREDENTIAL)).await;
        assert!(!answer.text().contains(CREDENTIAL), "the answer tells it: {}", answer.text());
        answer.says(403, &["credential"]);
        let record = stage.proxy.exchange().await;
        says(&record, json!({"outcome": "denied", "error": "credential_sent", "alarm": true}));
        assert!(!record.to_string().contains(CREDENTIAL), "{record}");
        stage.origin.saw_nothing();
    }
}

#[tokio::test]
async fn a_real_credential_in_content_does_not_leave_however_it_is_encoded() {
    let reversible = [
        CREDENTIAL.to_owned(),
        STANDARD.encode(CREDENTIAL),
        STANDARD.encode(format!("x:{CREDENTIAL}")),
        CREDENTIAL.bytes().map(|byte| format!("{byte:02x}")).collect(),
        CREDENTIAL.bytes().map(|byte| format!("%{byte:02X}")).collect(),
    ];
    for text in reversible {
        let mut stage = Stage::with_auth("scheme: Bearer").await;
        let answer = stage.client().send(post(&stage.url("/echo"), format!("take {text} now"))).await;
        answer.says(403, &[]);
        assert!(!answer.text().contains(&text), "{}", answer.text());
        stage.was_refused(json!({"outcome": "blocked", "by": "scan"})).await;
    }
}

#[tokio::test]
async fn no_output_of_the_proxy_holds_a_credential() {
    let stage = Stage::with("auth: {scheme: Bearer, token_env: TOKEN}", |setup| {
        setup.env("TOKEN", CREDENTIAL).arg("--admin").arg("127.0.0.1:0")
    })
    .await;
    let client = stage.client();
    client.get(&stage.url("/echo")).await.says(200, &[]);
    client.get(&stage.url(&format!("/{CREDENTIAL}?k={CREDENTIAL}"))).await.says(403, &[]);
    client.send(post(&stage.url("/echo"), CREDENTIAL)).await.says(403, &[]);
    client.try_send(get(&stage.url("/cut?n=10"))).await.expect_err("the origin broke off");
    client.get("http://_egress-proxy.local/allowlist").await.says(200, &["TOKEN"]);
    let ended = stage.proxy.stop().await;
    for secret in [CREDENTIAL, &STANDARD.encode(CREDENTIAL)] {
        assert!(!ended.stdout.contains(secret), "stdout: {}", ended.stdout);
        assert!(!ended.stderr.contains(secret), "stderr: {}", ended.stderr);
    }
}

#[tokio::test]
async fn a_route_whose_credential_is_gone_after_a_reload_refuses_and_never_forwards_bare() {
    let pki = Pki::new();
    let origin = Origin::https(&pki, "api.localhost").await;
    let mut proxy = Proxy::start(Setup::new(&routes(["host: api.localhost, ports: any"])).trusting(&pki)).await;
    proxy.write_routes(&routes(["host: api.localhost, ports: any, auth: {scheme: Bearer, token_env: GONE}"]));
    proxy.signal(rustix::process::Signal::HUP);
    proxy.event("routes.reloaded").await;
    proxy.client().get(&origin.url("/echo")).await.says(503, &["credential"]);
    says(&proxy.exchange().await, json!({"outcome": "failed", "error": "credential_missing"}));
    origin.saw_nothing();
}

#[tokio::test]
async fn a_real_credential_is_told_by_no_record_however_else_the_request_is_wrong() {
    let places: [fn(&Stage) -> http::Request<harness::origin::Content>; 4] = [
        // The path of a request that is refused before its path is judged.
        |stage| with(get(&stage.url(&format!("/{CREDENTIAL}"))), "x-exchange", "0"),
        |stage| with(get(&stage.url(&format!("/{CREDENTIAL}"))), "host", "other.localhost"),
        |_| get(&format!("http://_egress-proxy.local/{CREDENTIAL}")),
        // The name of a field, which a reason would tell.
        |stage| {
            let mut request = get(&stage.url("/echo"));
            let name = format!("x-pipelock-{CREDENTIAL}").parse::<http::HeaderName>().expect("a field name");
            request.headers_mut().insert(name, http::HeaderValue::from_static("0"));
            request
        },
    ];
    for place in places {
        let mut stage = Stage::with_auth("scheme: Bearer").await;
        stage.client().send(place(&stage)).await.says(403, &["credential"]);
        let record = stage.proxy.exchange().await;
        says(&record, json!({"error": "credential_sent", "alarm": true}));
        let record = record.to_string().to_lowercase();
        assert!(!record.contains(&CREDENTIAL.to_lowercase()), "{record}");
        stage.origin.saw_nothing();
    }
}

#[tokio::test]
async fn a_real_credential_in_the_name_of_a_host_is_refused_with_an_alarm() {
    let mut stage = Stage::with_auth("scheme: Bearer").await;
    let authority = format!("{CREDENTIAL}.localhost:443");
    let (answer, _) = stage.client().connect(&authority).await.expect("an answer");
    assert_eq!(answer.head.status(), 403, "{}", answer.text());
    let record = stage.proxy.exchange().await;
    says(&record, json!({"error": "credential_sent", "alarm": true}));
    assert!(!record.to_string().to_lowercase().contains(&CREDENTIAL.to_lowercase()), "{record}");
}
