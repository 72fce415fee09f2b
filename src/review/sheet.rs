//! The review as comma-separated values (RFC 4180): one row for each grant, then one for each finding.

use super::{Reviewed, words};
use crate::governance::review::Grant;

const HEAD: [&str; 15] = [
    "row", "upstream", "issuer", "client", "subject", "scopes", "needed", "used", "passed", "refused", "first", "last", "finding",
    "detail", "proposal",
];

pub fn csv(reviewed: &Reviewed) -> String {
    let mut out = String::new();
    row(&HEAD.map(str::to_owned), &mut out);
    for grant in &reviewed.review.grants {
        let Grant { upstream, issuer, client, subject, scopes, needed, used, passed, refused, first, last, .. } = grant;
        let used: Vec<String> = used.iter().map(|used| format!("{} {} ({})", used.kind, used.name, used.uses)).collect();
        let client = client.clone().unwrap_or_default();
        let (scopes, needed, used) = (scopes.join(" "), needed.join(" "), used.join("; "));
        let [passed, refused] = [passed, refused].map(u64::to_string);
        let [first, last] = [first, last].map(ToString::to_string);
        let (own, nothing) = ([upstream, issuer, &client, subject].map(String::clone), String::new);
        let [upstream, issuer, client, subject] = own;
        let cells = [
            "grant".into(),
            upstream,
            issuer,
            client,
            subject,
            scopes,
            needed,
            used,
            passed,
            refused,
            first,
            last,
            nothing(),
            nothing(),
            nothing(),
        ];
        row(&cells, &mut out);
    }
    for group in words::groups(reviewed) {
        for words::Line { upstream, issuer, client, subject, what, then } in group.lines {
            let none = String::new;
            let cells = [
                "finding".into(),
                upstream,
                issuer,
                client,
                subject,
                none(),
                none(),
                none(),
                none(),
                none(),
                none(),
                none(),
                group.title.to_owned(),
                what,
                then,
            ];
            row(&cells, &mut out);
        }
    }
    out
}

fn row(cells: &[String; HEAD.len()], out: &mut String) {
    let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
    out.push_str(&cells.join(","));
    out.push_str("\r\n");
}

/// SECURITY: what begins like a formula would be one in a spreadsheet, and strangers choose some of these texts.
fn quoted(cell: &str) -> String {
    let guard = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if guard.is_empty() && !cell.contains([',', '"', '\n', '\r']) {
        return cell.to_owned();
    }
    format!("\"{guard}{}\"", cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_neither_two_cells_nor_a_formula() {
        for (cell, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("a\nb", "\"a\nb\""),
            ("=HYPERLINK(1)", "\"'=HYPERLINK(1)\""),
            ("@x", "\"'@x\""),
            ("-1", "\"'-1\""),
        ] {
            assert_eq!(quoted(cell), expected);
        }
    }
}
