//! git over HTTPS: fetching works, pushing is refused on every route.

mod backend;

use harness::pki::Pki;
use harness::programs::Program;

use crate::Granted;

#[tokio::test]
async fn git_clones_from_a_granted_host() {
    let granted = repository().await;
    let git = Program::installed("git").through(&granted.proxy).arg("clone").arg(granted.origin.url("/demo.git"));
    let (ran, home) = git.run_and_keep().await;
    ran.output();
    assert_eq!(std::fs::read_to_string(home.path().join("demo/file")).expect("it was cloned"), "content\n");
}

#[tokio::test]
async fn git_push_over_https_is_refused_and_nothing_is_sent() {
    let granted = repository().await;
    let script = "git clone -q \"$1\" demo && cd demo && echo more >file && \
                  git -c user.name=a -c user.email=a@localhost commit -qam more && git push -q origin HEAD:main";
    let shell = Program::installed("sh").through(&granted.proxy).args(["-c", script, "sh"]);
    let ran = shell.env("GIT_TERMINAL_PROMPT", "0").arg(granted.origin.url("/demo.git")).run().await;
    assert_ne!(ran.code, Some(0), "the push went through");
    assert!(ran.stderr.contains("403"), "{}", ran.stderr);
    for arrival in granted.origin.seen().arrivals() {
        assert!(!arrival.target.contains("receive-pack"), "{arrival:?}");
    }
}

async fn repository() -> Granted {
    let pki = Pki::new();
    let origin = backend::origin(&pki, "git.localhost").await;
    Granted::to(&pki, origin).await
}
