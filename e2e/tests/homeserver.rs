//! Tintype in the place of a real homeserver's media repository, behind nginx, with real clients.
//!
//! `E2E_MEDIA=synapse` runs the same suite against Synapse's own media repository, to tell a fault of the suite
//! from one of Tintype; the tests of a homeserver that is gone make sense only for Tintype.

use e2e::{
    nginx::{Nginx, Passing},
    picture,
    round_trip::{Client, RoundTrip, round_trip},
    synapse::{APPSERVICE_TOKEN, MediaRepository, SERVER_NAME, Synapse, http_client},
    tintype::Tintype,
};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::sync::OnceCell;

#[tokio::test]
async fn matrix_nio_uploads_downloads_and_shows_a_thumbnail() {
    a_photograph_makes_the_round_trip(Client::Nio, "nio").await;
}

#[tokio::test]
async fn mautrix_uploads_downloads_and_shows_a_thumbnail() {
    a_photograph_makes_the_round_trip(Client::Mautrix, "mautrix").await;
}

#[tokio::test]
async fn matrix_js_sdk_uploads_downloads_and_shows_a_thumbnail() {
    a_photograph_makes_the_round_trip(Client::JsSdk, "js-sdk").await;
}

#[tokio::test]
async fn a_guest_downloads_but_does_not_upload() {
    let site = Site::start().await;
    let alice = site.synapse.register("alice_and_guest").await;
    let path = site.upload(&alice.token, "").await;
    let guest = site.synapse.register_guest().await;

    let download = site.get(&path, &guest.token).await;
    let upload = site.try_to_upload(&guest.token, "").await;

    assert_eq!(download.status(), StatusCode::OK);
    assert_eq!(download.bytes().await.expect("the body is whole"), picture::photograph());
    assert_refused(upload, StatusCode::FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN").await;
}

#[tokio::test]
async fn an_application_service_acts_for_its_users() {
    let site = Site::start().await;
    let bridged = site.synapse.register_bridged("carol").await;
    let masquerade = format!("?user_id={}", bridged.user_id);

    let path = site.upload(APPSERVICE_TOKEN, &masquerade).await;
    let download = site.get(&format!("{path}{masquerade}"), APPSERVICE_TOKEN).await;

    assert_eq!(download.status(), StatusCode::OK);
    assert_eq!(download.bytes().await.expect("the body is whole"), picture::photograph());
}

#[tokio::test]
async fn an_application_service_does_not_act_for_the_users_of_others() {
    let site = Site::start().await;
    let alice = site.synapse.register("alice_not_bridged").await;

    let upload = site.try_to_upload(APPSERVICE_TOKEN, &format!("?user_id={}", alice.user_id)).await;

    assert_refused(upload, StatusCode::FORBIDDEN, "M_FORBIDDEN").await;
}

#[tokio::test]
async fn a_missing_token_is_refused() {
    let site = Site::start().await;
    let alice = site.synapse.register("alice_without_token").await;
    let path = site.upload(&alice.token, "").await;

    let download = site.http.get(format!("{}{path}", site.url())).send().await.expect("nginx answers");

    assert_refused(download, StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN").await;
}

#[tokio::test]
async fn a_logged_out_token_is_refused_in_the_homeservers_words() {
    let site = Site::start().await;
    let alice = site.synapse.register("alice_logged_out").await;
    let bob = site.synapse.register("bob_logged_out").await;
    let path = site.upload(&alice.token, "").await;
    site.synapse.log_out(&bob).await;

    let said = site.words_of_the_homeserver(&bob.token).await;
    let download = site.get(&path, &bob.token).await;

    assert_eq!(said["errcode"], "M_UNKNOWN_TOKEN");
    assert_eq!(said["soft_logout"], false);
    assert_eq!(download.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(download.json::<Value>().await.expect("the answer is JSON"), said);
}

#[tokio::test]
async fn an_expired_token_is_refused_with_the_soft_logout_of_the_homeserver() {
    let site = Site::start().await;
    let alice = site.synapse.register("alice_expired").await;
    let path = site.upload(&alice.token, "").await;
    let expired = site.synapse.expired_token(&alice).await;

    let said = site.words_of_the_homeserver(&expired).await;
    let download = site.get(&path, &expired).await;

    assert_eq!(said["errcode"], "M_UNKNOWN_TOKEN");
    assert_eq!(said["soft_logout"], true);
    assert_eq!(download.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(download.json::<Value>().await.expect("the answer is JSON"), said);
}

#[tokio::test]
async fn a_stopped_homeserver_means_503_and_nothing_is_allowed() {
    let synapse = Synapse::start(MediaRepository::Elsewhere).await;
    let alice = synapse.register("alice").await;
    // A token that Tintype has not seen while the homeserver could be asked.
    let bob = synapse.register("bob").await;
    let tintype = Tintype::start(synapse.url()).await;
    let nginx = Nginx::start(Passing::Snippet, &tintype.address(), &synapse.address()).await;
    let path = upload(&nginx.url(), &alice.token).await;
    synapse.stop().await;

    let http = http_client();
    let url = nginx.url();
    let download = http.get(format!("{url}{path}")).bearer_auth(&bob.token);
    let download = download.send().await.expect("nginx answers");
    let upload = http.post(format!("{url}{UPLOAD}")).bearer_auth(&bob.token).body("bytes");
    let upload = upload.send().await.expect("nginx answers");

    assert_refused(download, StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN").await;
    assert_refused(upload, StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN").await;
}

#[tokio::test]
async fn an_upload_that_is_too_large_is_refused_in_words_that_clients_understand() {
    let site = Site::start().await;
    let alice = site.synapse.register("alice_too_large").await;

    let announced = site.http.post(format!("{}{UPLOAD}", site.url()));
    let announced = announced.bearer_auth(&alice.token).body(vec![0; 101 * 1024 * 1024]);
    let upload = announced.send().await.expect("nginx answers");

    assert_refused(upload, StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE").await;
}

#[tokio::test]
async fn sigterm_ends_the_server_properly() {
    let site = Site::start().await;

    let tintype = site.tintype.expect("this test is about Tintype");

    assert!(tintype.stop().await.success());
}

async fn a_photograph_makes_the_round_trip(client: Client, name: &str) {
    let site = Site::start().await;
    let user = site.synapse.register(name).await;

    let RoundTrip { content_uri, content_type, filename, thumbnail_content_type, thumbnail_size } =
        round_trip(client, &site.url(), &user).await;
    let passed_to_media = site.requests_for_media().await;

    assert!(content_uri.starts_with(&format!("mxc://{SERVER_NAME}/")), "{content_uri}");
    assert_eq!(content_type, "image/jpeg");
    assert_eq!(filename, picture::NAME);
    assert_eq!(thumbnail_content_type, "image/jpeg");
    assert_eq!(thumbnail_size, (320, 240));
    // The media server answered, on the endpoints that ask for a token.
    for target in [
        "POST /_matrix/media/v3/upload",
        "GET /_matrix/client/v1/media/download/",
        "GET /_matrix/client/v1/media/thumbnail/",
    ] {
        assert!(
            passed_to_media.iter().any(|request| request.starts_with(target)),
            "no {target} in {passed_to_media:#?}"
        );
    }
}

const UPLOAD: &str = "/_matrix/media/v3/upload";

static SYNAPSE: OnceCell<Synapse> = OnceCell::const_new();

/// One homeserver for the whole file; a Tintype and an nginx for each test.
struct Site {
    synapse: &'static Synapse,
    // Absent when Synapse serves its own media.
    tintype: Option<Tintype>,
    nginx: Nginx,
    http: reqwest::Client,
}

impl Site {
    async fn start() -> Self {
        let media = match std::env::var("E2E_MEDIA").as_deref() {
            Ok("synapse") => MediaRepository::BuiltIn,
            _ => MediaRepository::Elsewhere,
        };
        let synapse = SYNAPSE.get_or_init(|| Synapse::start(media)).await;
        let (tintype, media_address) = match media {
            MediaRepository::BuiltIn => (None, synapse.address()),
            MediaRepository::Elsewhere => {
                let tintype = Tintype::start(synapse.url()).await;
                let address = tintype.address();
                (Some(tintype), address)
            }
        };
        let nginx = Nginx::start(Passing::Snippet, &media_address, &synapse.address()).await;
        Self { synapse, tintype, nginx, http: http_client() }
    }

    fn url(&self) -> String {
        self.nginx.url()
    }

    async fn try_to_upload(&self, token: &str, query: &str) -> Response {
        let request = self.http.post(format!("{}{UPLOAD}{query}", self.url()));
        let request = request.bearer_auth(token).header("Content-Type", "image/jpeg");
        request.body(picture::photograph()).send().await.expect("nginx answers")
    }

    /// Uploads the photograph and returns the path to download it from.
    async fn upload(&self, token: &str, query: &str) -> String {
        download_path(self.try_to_upload(token, query).await).await
    }

    async fn get(&self, path: &str, token: &str) -> Response {
        let request = self.http.get(format!("{}{path}", self.url()));
        request.bearer_auth(token).send().await.expect("nginx answers")
    }

    /// What the homeserver itself answers to a token.
    async fn words_of_the_homeserver(&self, token: &str) -> Value {
        let whoami = format!("{}/_matrix/client/v3/account/whoami", self.synapse.url());
        let answer = self.http.get(whoami).bearer_auth(token).send().await.expect("Synapse answers");
        answer.json().await.expect("the answer is JSON")
    }

    /// Ends nginx and returns the requests that it passed to the media server.
    async fn requests_for_media(self) -> Vec<String> {
        let media = self.tintype.as_ref().map_or_else(|| self.synapse.address(), Tintype::address);
        let passed = self.nginx.stop().await;
        let to_media = passed.iter().filter_map(|line| line.strip_prefix(&format!("{media} ")));
        to_media.map(str::to_owned).collect()
    }
}

async fn upload(url: &str, token: &str) -> String {
    let request = http_client().post(format!("{url}{UPLOAD}"));
    let request = request.bearer_auth(token).body(picture::photograph());
    download_path(request.send().await.expect("nginx answers")).await
}

async fn download_path(upload: Response) -> String {
    let status = upload.status();
    let answer: Value = upload.json().await.expect("the answer is JSON");
    assert_eq!(status, StatusCode::OK, "{answer}");
    let media = answer["content_uri"].as_str().expect("an upload has a URI").trim_start_matches("mxc://").to_owned();
    format!("/_matrix/client/v1/media/download/{media}")
}

async fn assert_refused(answer: Response, status: StatusCode, errcode: &str) {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()["Content-Type"], "application/json");
    let error: Value = answer.json().await.expect("the answer is JSON");
    assert_eq!(error["errcode"], errcode, "{error}");
    assert!(error["error"].is_string(), "{error}");
}
