//! `egress-proxy check`: explains with the proxy's own judge whether a table allows a request.

use std::{io::Write, path::PathBuf};

use anyhow::Context;
use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use shared::{
    authority::Authority,
    routes::{Scheme, Subject},
};

use super::REFUSED;
use crate::{files, target};

/// Say whether a table allows a request, and which rule decides.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The route table.
    #[arg(long, value_name = "FILE")]
    routes: PathBuf,
    /// A field of the request, for tables that look at fields. Repeatable.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    fields: Vec<String>,
    /// The method, as in `GET`.
    method: String,
    /// The URL, as in `https://api.example.com/v1/x`.
    url: String,
}

pub fn run(args: &CheckArgs, out: &mut impl Write) -> anyhow::Result<u8> {
    let routes = files::read_routes(&args.routes)?;
    let uri: Uri = args.url.parse().with_context(|| format!("`{}` is no URL", args.url))?;
    let scheme = match uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") => Scheme::Https,
        _ => anyhow::bail!("`{}` does not begin with `https://` or `http://`", args.url),
    };
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let authority = Authority::parse(authority, scheme.default_port()).with_context(|| format!("`{}`", args.url))?;
    let fields = fields(&args.fields)?;
    let target = target::path_and_query(&uri);
    let subject =
        Subject { scheme, authority: &authority, method: &args.method, target: target.as_str(), fields: &fields };
    match routes.judge(&subject) {
        Ok(grant) => {
            let place = format!("{}:{}", args.routes.display(), grant.route.line);
            writeln!(out, "allowed by route `{}` ({place}), rule {}", grant.route.host, grant.rule)?;
            if let Some(auth) = &grant.route.auth {
                writeln!(out, "the proxy adds `{}` ({})", auth.source.name(), auth.scheme.name())?;
            }
            Ok(0)
        }
        Err(refusal) => {
            writeln!(out, "refused: {refusal}")?;
            if let Some(route) = routes.find(&authority.host) {
                writeln!(out, "the route is at {}:{}", args.routes.display(), route.line)?;
            }
            Ok(REFUSED)
        }
    }
}

fn fields(lines: &[String]) -> anyhow::Result<HeaderMap> {
    let mut fields = HeaderMap::new();
    for line in lines {
        let (name, value) =
            line.split_once(':').with_context(|| format!("`{line}` is no field; write `NAME: VALUE`"))?;
        let name: HeaderName = name.trim().parse().with_context(|| format!("`{name}` is no field name"))?;
        fields.append(name, HeaderValue::from_str(value.trim()).context("the value is no field value")?);
    }
    Ok(fields)
}
