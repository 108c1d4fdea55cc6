//! Style sheet, modules and signs, embedded in the binary.
//!
//! They are served under a folder named by a hash over all of them, so a browser keeps them for ever and relative
//! imports between modules work. For work on them, `GRISTMILL_WEB_DIR` names a folder that they are read from instead,
//! each time anew.

use std::path::PathBuf;
use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use gristmill_model::Digest;

/// A file as it is served.
struct Asset {
    name: &'static str,
    kind: &'static str,
    /// Parts in order, with the names of their files.
    parts: &'static [(&'static str, &'static str)],
}

macro_rules! part {
    ($name:literal) => {
        ($name, include_str!(concat!("assets/", $name)))
    };
}

const ASSETS: [Asset; 6] = [
    Asset {
        name: "style.css",
        kind: "text/css; charset=utf-8",
        parts: &[
            part!("00-tokens.css"),
            part!("10-base.css"),
            part!("20-layout.css"),
            part!("30-components.css"),
            part!("40-pages.css"),
            part!("50-log.css"),
        ],
    },
    Asset { name: "live.js", kind: "text/javascript; charset=utf-8", parts: &[part!("live.js")] },
    Asset { name: "morph.js", kind: "text/javascript; charset=utf-8", parts: &[part!("morph.js")] },
    Asset { name: "log.js", kind: "text/javascript; charset=utf-8", parts: &[part!("log.js")] },
    Asset { name: "icons.svg", kind: "image/svg+xml", parts: &[part!("icons.svg")] },
    Asset { name: "mark.svg", kind: "image/svg+xml", parts: &[part!("mark.svg")] },
];

/// The folder's name: a hash over everything in it.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let all: String = ASSETS.iter().flat_map(|asset| asset.parts).map(|(_, text)| *text).collect();
    Digest::of(all.as_bytes()).0[..12].to_owned()
});

/// The folder that files are read from instead of the binary, if one is named.
static FOLDER: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("GRISTMILL_WEB_DIR").map(PathBuf::from));

/// Gives the path that the files are served under, such as `/static/1a2b3c4d5e6f`.
pub fn base() -> String {
    format!("/static/{}", *HASH)
}

/// Gives the routes.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/static/{hash}/{name}", get(serve)).route("/favicon.ico", get(icon))
}

async fn icon() -> Response {
    serve(Path((HASH.clone(), "mark.svg".to_owned()))).await
}

async fn serve(Path((hash, name)): Path<(String, String)>) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return (StatusCode::NOT_FOUND, "There is no such file.\n").into_response();
    };
    let Some(text) = text_of(asset).await else {
        return (StatusCode::NOT_FOUND, "The folder named by GRISTMILL_WEB_DIR has no such file.\n").into_response();
    };
    // A page from before an upgrade asks for an older hash: it gets what there is now, and does not keep it.
    let is_final = hash == *HASH && FOLDER.is_none();
    let cache = if is_final { "public, max-age=31536000, immutable" } else { "no-cache" };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static(cache)),
    ];
    (headers, text).into_response()
}

async fn text_of(asset: &Asset) -> Option<String> {
    let Some(folder) = FOLDER.as_ref() else {
        return Some(asset.parts.iter().map(|(_, text)| *text).collect());
    };
    let mut text = String::new();
    for (name, _) in asset.parts {
        text.push_str(&tokio::fs::read_to_string(folder.join(name)).await.ok()?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> String {
        let asset = ASSETS.iter().find(|asset| asset.name == name).expect("it exists");
        asset.parts.iter().map(|(_, text)| *text).collect()
    }

    #[test]
    fn scripts_have_no_way_to_make_text_into_elements_or_code() {
        for name in ["live.js", "morph.js", "log.js"] {
            let source = source(name);
            for sink in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "DOMParser"]
            {
                assert!(!source.contains(sink), "{name} has {sink}");
            }
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_the_files_are_light() {
        for asset in &ASSETS {
            let text: String = asset.parts.iter().map(|(_, text)| *text).collect();
            for outside in ["https://", "//cdn", "@import"] {
                assert!(!text.contains(outside), "{} has {outside}", asset.name);
            }
            let packed = zstd::bulk::compress(text.as_bytes(), 19).expect("memory compresses").len();
            assert!(packed <= 10 * 1024, "{} has {packed} bytes packed", asset.name);
        }
    }

    #[test]
    fn every_outcome_has_a_sign_of_its_own() {
        let icons = source("icons.svg");
        for outcome in gristmill_model::Outcome::ALL {
            assert!(icons.contains(&format!("id=\"{outcome}\"")), "{outcome}");
        }
    }
}
