//! Which of the protocol passes at a route, beyond what every route knows: methods of extensions, capabilities by name,
//! whether older revisions are served at all.

use crate::mcp::Method;
use crate::mcp::introduction::Offer;
use crate::policy::Policy;

/// What the configuration says of an upstream's protocol. The default is that of an upstream without such keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Protocol {
    /// Methods that no revision defines.
    pub methods: Vec<Method>,
    /// Extensions and experimental capabilities of the server that clients are told of.
    pub extensions: Vec<String>,
    /// No `initialize`, no sessions: legacy clients are told which revisions there are.
    pub modern_only: bool,
    /// A call may lack the headers that its tool wants; those that are there must still be right.
    pub may_lack_headers: bool,
    /// Changes when the rules do.
    pub rules: u64,
}

impl Protocol {
    /// What of a server's capabilities these rules can serve.
    pub fn offer(&self, policy: &Policy) -> Offer<'_> {
        let mut offer = Offer { tools: false, prompts: false, resources: false, extensions: &self.extensions, legacy: !self.modern_only };
        for rule in policy.rules().iter().filter(|rule| !rule.deny) {
            offer.tools |= !rule.tools.is_empty();
            offer.prompts |= !rule.prompts.is_empty();
            offer.resources |= !rule.resources.is_empty();
        }
        offer
    }
}
