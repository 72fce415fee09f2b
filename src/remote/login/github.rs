//! A person's organisations and teams at GitHub, as groups: `acme` and `acme/sre`.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::super::http::{Http, permitted};
use super::{FetchError, LoginError, bearer};
use crate::config::login::OAuth2Login;

/// Pages of a hundred that are read.
const PAGES: usize = 5;
const PAGE: usize = 100;

#[derive(Deserialize)]
struct Organization {
    login: String,
}

#[derive(Deserialize)]
struct Team {
    slug: String,
    organization: Organization,
}

/// # Errors
/// They cannot be read. SECURITY: never fewer than there are, or a rule that denies a group would not.
pub async fn groups(http: &Http, api: &str, token: &str, login: &OAuth2Login) -> Result<Vec<String>, LoginError> {
    let organizations: Vec<Organization> = all(http, &format!("{api}/user/orgs"), token, login).await?;
    let teams: Vec<Team> = all(http, &format!("{api}/user/teams"), token, login).await?;
    let teams = teams.into_iter().map(|team| format!("{}/{}", team.organization.login, team.slug));
    Ok(organizations.into_iter().map(|organization| organization.login).chain(teams).collect())
}

async fn all<T: DeserializeOwned>(http: &Http, place: &str, token: &str, login: &OAuth2Login) -> Result<Vec<T>, LoginError> {
    let mut found = Vec::new();
    for page in 1..=PAGES {
        let one: Vec<T> = read(http, &permitted(&format!("{place}?per_page={PAGE}&page={page}"), login.allow_http)?, token, login).await?;
        let is_last = one.len() < PAGE;
        found.extend(one);
        if is_last {
            return Ok(found);
        }
    }
    Err(LoginError::Answer("names more organisations or teams than are read"))
}

async fn read<T: DeserializeOwned>(http: &Http, url: &Url, token: &str, login: &OAuth2Login) -> Result<Vec<T>, LoginError> {
    match http.get_any(url, bearer(token)?, login.timeout).await? {
        (200, body) => serde_json::from_slice(&body).map_err(|_| LoginError::Answer("on organisations or teams is no list of them")),
        (401, _) => Err(LoginError::Refused(401, "invalid_token".into())),
        (status @ 500.., _) => Err(FetchError::Status(status).into()),
        (status, _) => Err(LoginError::Refused(status, "no organisations".into())),
    }
}
