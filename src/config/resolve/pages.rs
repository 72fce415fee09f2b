//! Which words stand on pages?

use std::sync::Arc;

use url::Url;

use super::{Context, folder};
use crate::config::document::Document;
use crate::config::raw::Keyed;
use crate::config::raw::pages::RawPages;
use crate::config::report::At;
use crate::config::texts::{Pages, Texts, blanks};

/// Always pages: what is wrong is in the report.
pub fn resolve(raw: Option<RawPages>, public_url: Option<&str>, at: &At<'_>, context: &mut Context<'_>) -> Pages {
    let RawPages { title, contact, translations } = raw.unwrap_or_default();
    let host = || public_url.and_then(|url| Url::parse(url).ok()?.host_str().map(str::to_owned)).unwrap_or_default();
    let mut languages = Vec::new();
    for (tag, written) in translations.map(|Keyed(pairs)| pairs).unwrap_or_default() {
        let at = at.key("translations").key(&tag);
        if tag.is_empty() || !tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            context.report.mend(&at, format!("`{tag}` is not a language tag"), "write one like `de` or `pt-BR`");
        } else if let Some(texts) = texts(&written, &at, context) {
            languages.push((tag, Arc::new(texts)));
        }
    }
    if !languages.iter().any(|(tag, _)| tag == "en") {
        languages.push(("en".into(), Arc::default()));
    }
    Pages { title: title.filter(|title| !title.trim().is_empty()).unwrap_or_else(host), contact, languages }
}

fn texts(written: &str, at: &At<'_>, context: &mut Context<'_>) -> Option<Texts> {
    let bytes = context.read(at, written)?;
    let Ok(text) = String::from_utf8(bytes) else {
        context.report.error(at, format!("`{written}` is not UTF-8"));
        return None;
    };
    let path = Context::path(at, written);
    let document = Document::new(&path.display().to_string(), folder(&path), "", &text);
    let texts: Texts = document.parse(&text, &mut context.report)?;
    let place = At::new(&document);
    for ((key, translated), (_, english)) in texts.pairs().into_iter().zip(Texts::default().pairs()) {
        let known = blanks(english);
        if let Some(strange) = blanks(translated).into_iter().find(|word| !known.contains(word)) {
            let hint = format!("the words here are: {}", if known.is_empty() { "none".into() } else { known.join(", ") });
            context.report.mend(&place.key(key), format!("nothing is filled in for `{{{strange}}}`"), hint);
        }
    }
    Some(texts)
}
