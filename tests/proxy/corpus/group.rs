//! The files of the corpus: groups of cases that differ in one thing.

use std::path::Path;
use std::rc::Rc;

use serde::Deserialize;

/// One file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    refused: Vec<Group>,
    #[serde(default)]
    reframed: Vec<Group>,
}

/// Cases that differ in one thing: an item of the list that is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Group {
    name: String,
    /// The route's host, without `.localhost`.
    pub(crate) host: String,
    pub(crate) method: String,
    pub(crate) target: String,
    /// Fields that every case has.
    pub(crate) with: Vec<String>,
    /// The record's `error`; two where the protocols differ, HTTP/1.1 first. `unseen`: the library ended the stream, and
    /// the tunnel's record has no exchange.
    pub(crate) error: Vec<String>,
    pub(crate) alarm: bool,
    /// Nothing more is sent: the client says so at once.
    pub(crate) finish: bool,
    /// What the origin must, and must not, have received.
    pub(crate) origin_has: Vec<String>,
    pub(crate) origin_lacks: Vec<String>,

    targets: Vec<String>,
    methods: Vec<String>,
    /// `Name: value`; several in one case are parted by line ends.
    fields: Vec<String>,
    trailers: Vec<String>,
    contents: Vec<String>,
    /// What the request names for its host, inside a tunnel to `host`.
    hosts: Vec<String>,
    /// What the tunnel is opened for.
    connects: Vec<String>,
    /// Bytes inside the tunnel's TLS.
    h1: Vec<String>,
    /// Every field as `name=value`, pseudo-fields too.
    h2: Vec<Vec<String>>,
    /// Bytes inside the tunnel, without TLS.
    tunnel: Vec<String>,
    /// Bytes to the proxy itself.
    outside: Vec<String>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            name: String::new(),
            host: "any".to_owned(),
            method: "GET".to_owned(),
            target: "/user".to_owned(),
            with: Vec::new(),
            error: Vec::new(),
            alarm: false,
            finish: false,
            origin_has: Vec::new(),
            origin_lacks: Vec::new(),
            targets: Vec::new(),
            methods: Vec::new(),
            fields: Vec::new(),
            trailers: Vec::new(),
            contents: Vec::new(),
            hosts: Vec::new(),
            connects: Vec::new(),
            h1: Vec::new(),
            h2: Vec::new(),
            tunnel: Vec::new(),
            outside: Vec::new(),
        }
    }
}

/// One thing to try.
pub(crate) struct Case {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) common: Rc<Group>,
    pub(crate) variant: Variant,
}

/// What the case does.
pub(crate) enum Variant {
    /// A request in whichever protocol.
    Request(Request),
    H1(String),
    H2(Vec<String>),
    Tunnel(String),
    Outside(String),
}

/// A request, as far as it is not left at what is usual.
#[derive(Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) connect: Option<String>,
    pub(crate) fields: Option<String>,
    pub(crate) trailers: Option<String>,
    pub(crate) content: Option<String>,
}

/// The cases of every file, those under this key.
pub(crate) fn cases(key: &str) -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let entries = std::fs::read_dir(&folder).expect("the corpus is in the tree");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml")) {
        let text = std::fs::read_to_string(path).expect("a readable file");
        let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let groups = if key == "refused" { file.refused } else { file.reframed };
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("an ASCII name");
        cases.extend(groups.into_iter().flat_map(|group| group.cases(name)));
    }
    cases
}

impl Group {
    fn cases(mut self, file: &str) -> Vec<Case> {
        let request = Request::default;
        let requests = [
            one_each(&mut self.targets, |target| Request { target: Some(target), ..request() }),
            one_each(&mut self.methods, |method| Request { method: Some(method), ..request() }),
            one_each(&mut self.fields, |fields| Request { fields: Some(fields), ..request() }),
            one_each(&mut self.trailers, |trailers| Request { trailers: Some(trailers), ..request() }),
            one_each(&mut self.contents, |content| Request { content: Some(content), ..request() }),
            one_each(&mut self.hosts, |host| Request { host: Some(host), ..request() }),
            one_each(&mut self.connects, |connect| Request { connect: Some(connect), ..request() }),
        ];
        let variants = requests.into_iter().flatten().map(|(what, request)| (what, Variant::Request(request)));
        let h2 = std::mem::take(&mut self.h2).into_iter().map(|fields| (fields.join(", "), Variant::H2(fields)));
        let variants: Vec<_> = variants
            .chain(one_each(&mut self.h1, Variant::H1))
            .chain(one_each(&mut self.tunnel, Variant::Tunnel))
            .chain(one_each(&mut self.outside, Variant::Outside))
            .chain(h2)
            .collect();
        assert!(!variants.is_empty(), "{file}: the group `{}` has no case", self.name);
        let common = Rc::new(self);
        let case = |(what, variant)| {
            let name = format!("{file}: {}: {what}", common.name);
            Case { file: file.to_owned(), name, common: common.clone(), variant }
        };
        variants.into_iter().map(case).collect()
    }
}

/// Takes a list's items, each with its text for people.
fn one_each<V>(texts: &mut Vec<String>, variant: impl Fn(String) -> V) -> Vec<(String, V)> {
    std::mem::take(texts).into_iter().map(|text| (text.escape_debug().to_string(), variant(text))).collect()
}
