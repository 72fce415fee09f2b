//! Methods of extensions, capabilities by name, and the eras of an upstream.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::config::raw::{RawEras, RawMethod, Strings};
use crate::config::report::At;
use crate::config::resolve::Context;
use crate::mcp::extension::{Fault, Names, row};
use crate::mcp::{Kind, Method};
use crate::policy::Policy;
use crate::route::protocol::Protocol;

/// The keys of one upstream.
pub struct Section {
    pub eras: Option<RawEras>,
    pub methods: Option<Vec<RawMethod>>,
    pub extensions: Option<Strings>,
    pub allow_missing_param_headers: Option<bool>,
}

impl Section {
    pub fn resolve(self, policy: &Policy, at: &At<'_>, context: &mut Context<'_>) -> Protocol {
        let mut methods: Vec<Method> = Vec::new();
        let here = at.key("methods");
        for (index, raw) in self.methods.unwrap_or_default().into_iter().enumerate() {
            let at = here.item(index);
            let Some(method) = method(raw, &at, context) else { continue };
            if methods.iter().any(|other| other.name == method.name) {
                context.report.error(&at.key("name"), format!("`{}` is already configured", method.name));
            }
            methods.push(method);
        }
        let mut hasher = DefaultHasher::new();
        format!("{:?}", policy.rules()).hash(&mut hasher);
        Protocol {
            methods,
            extensions: context.strings(self.extensions, &at.key("extensions")),
            modern_only: matches!(self.eras, Some(RawEras::Modern)),
            may_lack_headers: self.allow_missing_param_headers.unwrap_or_default(),
            rules: hasher.finish(),
        }
    }
}

fn method(raw: RawMethod, at: &At<'_>, context: &mut Context<'_>) -> Option<Method> {
    let RawMethod { name, tool, prompt, resource, allow_unnamed } = raw;
    let Some(name) = name else {
        context.missing_key(at, "name", "the method as messages spell it: `name: acme/report`");
        return None;
    };
    let pointers = [("tool", Kind::Tool, &tool), ("prompt", Kind::Prompt, &prompt), ("resource", Kind::Resource, &resource)];
    let mut given = pointers.iter().filter_map(|(key, kind, pointer)| Some((*key, *kind, pointer.as_deref()?)));
    let (key, names) = match (given.next(), given.next(), allow_unnamed.unwrap_or_default()) {
        (Some((key, kind, pointer)), None, false) => (key, Names::At(kind, pointer)),
        (None, None, true) => ("allow_unnamed", Names::Nothing),
        (None, None, false) => {
            let hint = "say where its name stands: `tool: /reportId` (or `prompt`, `resource`), a JSON Pointer from `params` on; \
                        or `allow_unnamed: true`, which lets every admitted caller use it";
            context.report.missing(at, format!("`{name}` names nothing that a rule could speak of"), hint);
            return None;
        }
        _ => {
            context.report.mend(
                at,
                format!("`{name}` names things in several ways"),
                "keep one of `tool`, `prompt`, `resource` and `allow_unnamed`",
            );
            return None;
        }
    };
    match row(&name, names) {
        Ok(method) => Some(method),
        Err(Fault::Reserved) => {
            context.report.mend(&at.key("name"), format!("`{name}` is the protocol's own"), "only methods of extensions are configured");
            None
        }
        Err(Fault::Name) => {
            let hint = "letters, digits and `/ . _ - $ :`, at most 128";
            context.report.mend(&at.key("name"), format!("`{name}` is not a name for a method"), hint);
            None
        }
        Err(Fault::Pointer) => {
            let hint = "such as `/reportId`, from `params` on (RFC 6901)";
            context.report.mend(&at.key(key), "this is not a JSON Pointer to a member", hint);
            None
        }
    }
}
