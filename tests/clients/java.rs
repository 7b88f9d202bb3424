//! Java's HttpClient, which knows proxy and trust from `JAVA_TOOL_OPTIONS`.

use harness::programs::{Program, Ran};
use harness::proxy::Proxy;

use crate::{Granted, is_refusal};

#[tokio::test]
async fn java_reaches_a_granted_host() {
    let granted = Granted::start().await;
    let ran = fetch(&granted.proxy, &granted.echo()).await;
    assert!(ran.output().starts_with("HTTP_2 200\n"), "{}", ran.output());
    granted.is_echo(ran.output());
}

#[tokio::test]
async fn java_reads_why_another_host_is_refused() {
    let granted = Granted::start().await;
    let ran = fetch(&granted.proxy, &granted.elsewhere()).await;
    assert!(ran.output().starts_with("HTTP_2 403\n"), "{}", ran.output());
    is_refusal(ran.output());
}

async fn fetch(proxy: &Proxy, url: &str) -> Ran {
    let store = proxy.files().join("trust.p12");
    let store = store.to_str().expect("a temporary folder has an ASCII name");
    let keytool = Program::installed("keytool").args(["-importcert", "-noprompt", "-alias", "bottle"]);
    let keytool = keytool.args(["-storetype", "PKCS12", "-storepass", "changeit", "-keystore", store, "-file"]);
    let imported = keytool.arg(proxy.ca_file()).run().await;
    imported.output();
    let (host, port) = (proxy.address().ip(), proxy.address().port());
    let options = format!(
        "-Dhttps.proxyHost={host} -Dhttps.proxyPort={port} -Djavax.net.ssl.trustStore={store} \
         -Djavax.net.ssl.trustStorePassword=changeit -XX:TieredStopAtLevel=1"
    );
    let java = Program::installed("java").env("JAVA_TOOL_OPTIONS", &options);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/programs/Fetch.java");
    java.arg(source).arg(url).run().await
}
