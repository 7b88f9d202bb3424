//! The supervise sidecar, as its two neighbours see it: the agent over HTTP, the launcher over stdin and stdout. Everything
//! that an agent sends is an attack or a wish, and neither may do more than be passed on.

use harness::supervise::Sidecar;
use serde_json::json;

#[tokio::test]
async fn a_client_finds_two_tools_and_is_told_what_they_are_for() {
    let sidecar = Sidecar::start(45).await;
    let greeting = sidecar.call(
        "initialize",
        json!({
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
        }),
    );
    let greeting = greeting.await;
    assert_eq!(greeting["result"]["serverInfo"]["name"], "supervise", "{greeting}");
    assert!(greeting["result"]["instructions"].as_str().expect("instructions").contains("_egress-proxy.local"));
    let listed = sidecar.call("tools/list", json!({})).await;
    let tools = listed["result"]["tools"].as_array().expect("tools").clone();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["await_decision", "propose_route"]);
    let fields: Vec<_> = tools[1]["inputSchema"]["properties"].as_object().expect("properties").keys().collect();
    assert_eq!(fields, ["host", "methods", "paths", "reason"], "nothing else can be asked for");
}

#[tokio::test]
async fn a_proposal_is_passed_on_and_its_answer_comes_back() {
    for (outcome, is_error, words) in
        [("approved", false, "was approved"), ("rejected", true, "use the mirror"), ("refused", true, "was not put")]
    {
        let mut sidecar = Sidecar::start(45).await;
        let wish = json!({"host": "API.example.com", "methods": ["post"], "paths": ["/v2/"], "reason": "to  publish"});
        let call = sidecar.background_tool("propose_route", wish);
        let asked = sidecar.asked().await;
        assert_eq!(
            asked,
            json!({"number": 1, "proposal":
            {"host": "api.example.com", "methods": ["POST"], "paths": ["/v2/"], "reason": "to publish"}})
        );
        sidecar.answer(json!({"number": 1, "outcome": outcome, "words": "use the mirror"})).await;
        let told = call.await.expect("the call ends");
        assert_eq!(told["result"]["isError"], json!(is_error), "{told}");
        let text = told["result"]["content"][0]["text"].as_str().expect("text");
        assert!(text.contains(words) && text.contains("POST https://api.example.com/v2/"), "{text}");
    }
}

#[tokio::test]
async fn a_call_that_waits_in_vain_is_taken_up_again_and_nobody_is_asked_twice() {
    let mut sidecar = Sidecar::start(0).await;
    let wish = json!({"host": "a.example", "reason": "to test"});
    let waits = sidecar.tool("propose_route", wish.clone()).await;
    assert!(waits.contains("`await_decision` with `proposal: 1`"), "{waits}");
    assert_eq!(sidecar.asked().await["number"], 1);
    assert_eq!(sidecar.tool("await_decision", json!({"proposal": 1})).await, waits);
    // The same wish in other words is the same wish.
    let again =
        json!({"host": "A.example.", "methods": ["HEAD", "GET"], "paths": ["/"], "reason": "please, it is urgent"});
    assert_eq!(sidecar.tool("propose_route", again.clone()).await, waits);
    sidecar.answer(json!({"number": 1, "outcome": "rejected"})).await;
    sidecar.tool_until("await_decision", json!({"proposal": 1}), "was rejected by the operator").await;
    assert!(sidecar.tool("propose_route", again).await.contains("was rejected by the operator"));
    // What comes next is what was asked next.
    sidecar.tool("propose_route", json!({"host": "b.example", "reason": "to test"})).await;
    assert_eq!(sidecar.asked().await["proposal"]["host"], "b.example");
    assert!(sidecar.tool("await_decision", json!({"proposal": 7})).await.contains("there is no proposal 7"));
}

#[tokio::test]
async fn what_is_no_proposal_is_refused_at_once_and_passed_on_nowhere() {
    let mut sidecar = Sidecar::start(0).await;
    for (wish, words) in [
        (json!({"host": "*.example.com", "reason": "x"}), "a wildcard cannot be proposed"),
        (json!({"host": "192.0.2.1", "reason": "x"}), "an IP address cannot be proposed"),
        (json!({"host": "egress-proxy", "reason": "x"}), "no host name with a domain"),
        (json!({"host": "a.example", "methods": ["CONNECT"], "reason": "x"}), "a method is none of"),
        (json!({"host": "a.example", "paths": ["/a/../b"], "reason": "x"}), "a path is ambiguous"),
        (json!({"host": "a.example", "reason": " "}), "`reason` is empty"),
        (json!({"host": "a.example", "reason": "x".repeat(201)}), "longer than 200"),
    ] {
        let said = sidecar.tool("propose_route", wish.clone()).await;
        assert!(said.starts_with("not proposed: ") && said.contains(words), "{wish}: {said}");
    }
    for wish in [
        json!({"host": "a.example"}),
        json!({"host": "a.example", "reason": "x", "auth": {"scheme": "Bearer", "token_env": "EGRESS_PROXY_TOKEN_0"}}),
        json!({"host": "a.example", "reason": "x", "inspect": "off"}),
        json!({"host": ["a.example"], "reason": "x"}),
    ] {
        let answer = sidecar.call("tools/call", json!({"name": "propose_route", "arguments": wish})).await;
        let is_refused = answer.get("error").is_some() || answer["result"]["isError"] == true;
        assert!(is_refused, "{wish}: {answer}");
    }
    sidecar.tool("propose_route", json!({"host": "last.example", "reason": "x"})).await;
    assert_eq!(
        sidecar.asked().await,
        json!({"number": 1, "proposal":
        {"host": "last.example", "methods": ["GET", "HEAD"], "paths": ["/"], "reason": "x"}})
    );
}

#[tokio::test]
async fn an_operator_is_not_flooded() {
    let mut sidecar = Sidecar::start(0).await;
    for number in 1..=8 {
        sidecar.tool("propose_route", json!({"host": format!("a{number}.example"), "reason": "x"})).await;
        assert_eq!(sidecar.asked().await["number"], number);
    }
    let refused = sidecar.tool("propose_route", json!({"host": "a9.example", "reason": "x"})).await;
    assert!(refused.contains("8 proposals wait for the operator already"), "{refused}");
    sidecar.answer(json!({"number": 3, "outcome": "rejected"})).await;
    sidecar.tool_until("propose_route", json!({"host": "a9.example", "reason": "x"}), "proposal 9").await;
    assert_eq!(sidecar.asked().await["proposal"]["host"], "a9.example");
}

#[tokio::test]
async fn only_clients_of_its_own_name_are_served_and_only_small_requests() {
    let sidecar = Sidecar::start(0).await;
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}).to_string();
    assert_eq!(sidecar.post("/mcp", &list, &[("host", "supervise:9100")]).await.0, 200);
    for field in [("host", "evil.example"), ("origin", "https://evil.example"), ("origin", "null")] {
        assert_eq!(sidecar.post("/mcp", &list, &[field]).await.0, 403, "{field:?}");
    }
    assert_eq!(sidecar.post("/mcp", &" ".repeat((64 << 10) + 1), &[]).await.0, 413);
    let (status, _) = sidecar.post("/mcp", "no json", &[]).await;
    assert!((400..500).contains(&status), "{status}");
}

#[tokio::test]
async fn lines_that_are_none_change_nothing_and_the_end_of_them_ends_it() {
    let mut sidecar = Sidecar::start(0).await;
    sidecar.tool("propose_route", json!({"host": "a.example", "reason": "x"})).await;
    for line in [
        json!("nonsense"),
        json!({"number": 1}),
        json!({"number": 9, "outcome": "approved"}),
        json!({"number": 0,
        "outcome": "approved"}),
        json!("x".repeat(20 << 10)),
    ] {
        sidecar.answer(line).await;
    }
    sidecar.answer(json!({"number": 1, "outcome": "rejected"})).await;
    sidecar.tool_until("await_decision", json!({"proposal": 1}), "was rejected").await;
    assert!(sidecar.end().await.success());
}
