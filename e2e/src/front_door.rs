//! A Synapse with a Tintype in front of it: clients and other servers talk to Tintype, which keeps the media and passes
//! everything else on.

use crate::{
    nginx::{Nginx, Passing},
    person::Person,
    port,
    synapse::{Federation, Linked, Profiles, Redactions, SERVER_NAME, Synapse},
    tintype::Tintype,
};

/// With these they speak to each other.
const APPSERVICE_TOKEN: &str = "token-of-tintype";
const HOMESERVER_TOKEN: &str = "token-of-the-homeserver";

/// Who stands at the address that clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// Tintype, `pass_through = true`.
    Tintype,
    /// nginx with the file of `deploy/nginx/`, which sends Tintype no more than it needs.
    Nginx,
}

/// What a [`FrontDoor`] is to be.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    /// Who stands in front.
    pub front: Front,
    /// How other servers reach it, if they do.
    pub federation: Option<Federation<'a>>,
    /// Whose profiles a user may look at.
    pub profiles: Profiles,
    /// Whether the homeserver refuses redactions that the sender may not make.
    pub redactions: Redactions,
    /// The lines of `[linked]`.
    pub linked: &'a str,
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Self {
            front: Front::Tintype,
            federation: None,
            profiles: Profiles::OfEverybody,
            redactions: Redactions::Checked,
            linked: "",
        }
    }
}

/// A homeserver and the Tintype in front of it.
#[derive(Debug)]
pub struct FrontDoor {
    /// The media server.
    pub tintype: Tintype,
    /// The homeserver.
    pub synapse: Synapse,
    nginx: Option<Nginx>,
}

impl FrontDoor {
    /// Starts both and waits until they are ready.
    pub async fn start(setting: Setting<'_>) -> Self {
        Self::start_through(setting, |address| format!("http://{address}")).await
    }

    /// Starts both, with Tintype reaching the homeserver, which is at this address, at the URL that `way` names.
    pub async fn start_through(setting: Setting<'_>, way: impl FnOnce(String) -> String) -> Self {
        let Setting { front, federation, profiles, redactions, linked } = setting;
        // Each has to know the other's address before it starts.
        let (port, homeserver) = (port::free(), port::free());
        let name = federation.map_or_else(|| SERVER_NAME.to_owned(), Federation::server_name);
        let server = format!(
            r#"[[server]]
name = "{name}"
homeserver = "{}"
appservice_token = "{APPSERVICE_TOKEN}"
homeserver_token = "{HOMESERVER_TOKEN}"
pass_through = {}
"#,
            way(format!("127.0.0.1:{homeserver}")),
            front == Front::Tintype,
        );
        let registration = Tintype::registration(port, &server).await;
        let as_linked = Linked { port: homeserver, registration: &registration, profiles, redactions };
        let synapse = Synapse::start_linked(&as_linked, federation).await;
        let key = format!("signing_key_file = \"{}\"\n", synapse.signing_key_file().display());
        let tables = format!("{server}{key}\n[linked]\n{linked}");
        let tintype = Tintype::start_linked(port, federation, &tables).await;
        let nginx = match front {
            Front::Tintype => None,
            Front::Nginx => Some(Nginx::start(Passing::Linked, &tintype.address(), &synapse.address()).await),
        };
        Self { tintype, synapse, nginx }
    }

    /// The base URL that clients know.
    pub fn url(&self) -> String {
        self.nginx.as_ref().map_or_else(|| format!("http://{}", self.tintype.address()), Nginx::url)
    }

    /// Registers an account.
    pub async fn person(&self, localpart: &str) -> Person {
        let user = self.synapse.register(localpart).await;
        Person::new(user, self.url(), self.synapse.url().to_owned())
    }
}
