//! `PUT …/send/…` with media: what is forwarded, what is refused, and what the answers of the homeserver mean.

use http::Method;
use serde_json::json;
use tintype_domain::Audience;
use tintype_testing::until;

use super::{ROOM, Setting, attaching, event, invalid, message, put, send};

#[tokio::test]
async fn media_belongs_to_the_event_that_it_is_sent_with() {
    let setting = Setting::new().await;
    let (one, two) = (setting.restricted("one").await, setting.restricted("two").await);
    setting.takes("1", "$event");

    let answer = send(&setting.alice, "1", [&one, &two, &one]).await;

    assert_eq!((answer.status(), answer.json()), (200, json!({ "event_id": "$event" })));
    assert_eq!(setting.audience(&one).await, event("$event"));
    assert_eq!(setting.audience(&two).await, event("$event"));
    let known = setting.server.known_event("$event").await.unwrap();
    assert_eq!(known.room_id.unwrap(), "!room:example.org");
    assert_eq!(known.sender.unwrap(), "@alice:example.org");
    assert_eq!(known.event_type.unwrap(), "m.room.message");
    assert_eq!(known.state_key, None);
}

#[tokio::test]
async fn the_request_is_forwarded_as_it_came_without_our_parameter() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    let path = "/_matrix/client/r0/rooms/%21room%3Aexample.org/send/m.room.message/a%20%2F1";
    setting.homeserver.answers(Method::PUT, path, 200, &json!({ "event_id": "$event" }));
    let body = "{ \"msgtype\":\t\"m.text\", \"body\":\"\\u00e4\"}\n";

    let target = format!("{path}?ts=%31&org%2Ematrix.msc3911.attach_media=mxc%3A%2F%2Fexample.org%2Fone&&x");
    let answer = setting.alice.request(Method::PUT, target).header("x-client", "Element").body(body).await;

    assert_eq!(answer.status(), 200, "{answer:?}");
    let [forwarded] = &setting.forwarded(&Method::PUT)[..] else { panic!("one request was forwarded") };
    assert_eq!(forwarded.target, format!("{path}?ts=%31&&x"));
    assert_eq!(forwarded.body, body);
    assert_eq!(forwarded.headers["authorization"], "Bearer syt_alice");
    assert_eq!(forwarded.headers["x-client"], "Element");
    assert_eq!(forwarded.headers["content-length"], body.len().to_string());
    assert_eq!(setting.audience(&one).await, event("$event"));
}

#[tokio::test]
async fn what_cannot_be_attached_is_refused_before_anything_is_forwarded() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    let attached = setting.restricted("attached").await;
    setting.takes("1", "$event");
    assert_eq!(send(&setting.alice, "1", [&attached]).await.status(), 200);
    let unrestricted = setting.alice.upload("hello").await;
    let bobs = setting.restricted_of("@bob:example.org", "bobs").await;
    let unknown = "mxc://example.org/unknown".parse().unwrap();
    let remote = "mxc://elsewhere.example/one".parse().unwrap();

    for other in [&attached, &unrestricted, &bobs, &unknown, &remote] {
        assert_eq!(send(&setting.alice, "2", [&one, other]).await.error(), invalid(), "{other}");
        assert_eq!(setting.audience(&one).await, Audience::Uploader);
    }
    for nothing in ["", "=", "=one", "=https://example.org/one", "=mxc://example.org/one/two", "=%ff"] {
        let path = format!("{ROOM}/send/m.room.message/2?org.matrix.msc3911.attach_media{nothing}");
        assert_eq!(put(&setting.alice, path, &message()).await.error(), invalid(), "{nothing}");
    }

    assert_eq!(setting.forwarded(&Method::PUT).len(), 1);
}

#[tokio::test]
async fn an_event_has_as_many_pieces_of_media_as_are_allowed() {
    let setting = Setting::new().await;
    let mut media = Vec::new();
    for number in 0..21 {
        media.push(setting.restricted(&format!("m{number}")).await);
    }
    setting.takes("1", "$event");

    assert_eq!(send(&setting.alice, "1", &media).await.error(), invalid());
    assert_eq!(setting.audience(&media[0]).await, Audience::Uploader);
    assert_eq!(send(&setting.alice, "1", &media[..20]).await.status(), 200);

    assert_eq!(setting.audience(&media[19]).await, event("$event"));
}

#[tokio::test]
async fn media_can_be_attached_before_it_is_uploaded() {
    let setting = Setting::new().await;
    let soon = setting.server.reserve_restricted("mxc://example.org/soon", "@alice:example.org").await;
    setting.takes("1", "$event");

    assert_eq!(send(&setting.alice, "1", [&soon]).await.status(), 200);
    assert_eq!(setting.alice.put(&soon).body("hello").await.status(), 200);

    assert_eq!(setting.audience(&soon).await, event("$event"));
}

#[tokio::test]
async fn nothing_is_attached_to_a_delayed_event() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;

    let path = attaching(format!("{ROOM}/send/m.room.message/1"), [&one]);
    let delayed = put(&setting.alice, format!("{path}&org.matrix.msc4140.delay=1000"), &message()).await;

    assert_eq!(delayed.error(), invalid());
    assert_eq!(setting.forwarded(&Method::PUT).len(), 0);
    assert_eq!(setting.audience(&one).await, Audience::Uploader);
}

#[tokio::test]
async fn what_the_homeserver_refuses_leaves_the_media_free() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    let refusal = json!({ "errcode": "M_FORBIDDEN", "error": "You are not in the room", "extra": 1 });

    for status in [400, 401, 403, 404, 413, 429] {
        setting.answers("1", status, &refusal);
        let answer = send(&setting.alice, "1", [&one]).await;
        assert_eq!((answer.status(), answer.json()), (status, refusal.clone()));
        assert_eq!(setting.audience(&one).await, Audience::Uploader, "{status}");
    }
    setting.takes("2", "$event");

    assert_eq!(send(&setting.alice, "2", [&one]).await.status(), 200);
    assert_eq!(setting.audience(&one).await, event("$event"));
}

#[tokio::test]
async fn a_homeserver_that_was_not_reached_has_done_nothing() {
    let setting = Setting::new().await;
    setting.server.is_at_one_node("a token that was asked about is known to the node that asked");
    let one = setting.restricted("one").await;
    assert_eq!(setting.alice.upload("so that the token is known").await.server_name, "example.org");
    let Setting { homeserver, server, alice, .. } = setting;
    homeserver.stop().await;

    assert_eq!(send(&alice, "1", [&one]).await.error(), (502, "M_UNKNOWN".to_owned()));

    assert_eq!(server.audience(&one).await, Some(Audience::Uploader));
}

#[tokio::test]
async fn without_a_token_that_holds_nothing_is_attached() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;

    let stranger = setting.server.anonymous().with_token("made_up");
    assert_eq!(send(&stranger, "1", [&one]).await.error(), (401, "M_UNKNOWN_TOKEN".to_owned()));
    assert_eq!(send(&setting.server.anonymous(), "1", [&one]).await.error(), (401, "M_MISSING_TOKEN".to_owned()));

    assert_eq!(setting.forwarded(&Method::PUT).len(), 0);
    assert_eq!(setting.audience(&one).await, Audience::Uploader);
}

#[tokio::test]
async fn a_body_that_no_event_can_be_as_large_as_is_refused() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;

    let path = attaching(format!("{ROOM}/send/m.room.message/1"), [&one]);
    let body = vec![b' '; 1024 * 1024 + 1];
    let answer = setting.alice.request(Method::PUT, path).body(body).await;

    assert_eq!(answer.error(), (413, "M_TOO_LARGE".to_owned()));
    assert_eq!(setting.audience(&one).await, Audience::Uploader);
}

#[tokio::test]
async fn what_attaches_nothing_is_passed_on_as_it_is() {
    let setting = Setting::new().await;
    let path = format!("{ROOM}/send/m.room.message/1");
    setting.homeserver.answers_text(Method::PUT, &path, 200, "whatever it is");
    setting.homeserver.answers_text(Method::GET, &format!("{ROOM}/state/m.room.name/"), 200, r#"{"name":"us"}"#);
    let body = vec![b'x'; 2 * 1024 * 1024];

    let sent =
        setting.alice.request(Method::PUT, format!("{path}?attach_media=mxc://example.org/one")).body(body).await;
    let read = setting.alice.get(format!("{ROOM}/state/m.room.name/")).await;

    assert_eq!((sent.status(), &sent.bytes()[..]), (200, &b"whatever it is"[..]));
    assert_eq!(read.bytes(), r#"{"name":"us"}"#);
    let [forwarded] = &setting.forwarded(&Method::PUT)[..] else { panic!("one request was forwarded") };
    assert_eq!(forwarded.target, format!("{path}?attach_media=mxc://example.org/one"));
    assert_eq!(forwarded.body.len(), 2 * 1024 * 1024);
}

#[tokio::test]
async fn the_stable_name_is_known_where_it_is_turned_on() {
    let setting = Setting::with("[proposals]\nstable = ['msc3911']\n").await;
    let one = setting.restricted("one").await;
    setting.takes("1", "$event");

    let path = format!("{ROOM}/send/m.room.message/1?attach_media={one}");
    assert_eq!(put(&setting.alice, path, &message()).await.status(), 200);

    assert_eq!(setting.audience(&one).await, event("$event"));
    assert_eq!(setting.forwarded(&Method::PUT)[0].target, format!("{ROOM}/send/m.room.message/1"));
}

#[tokio::test]
async fn the_visibility_at_the_event_is_asked_for_with_the_senders_token() {
    let visibility = |value| json!([{ "type": "m.room.history_visibility", "state_key": "", "content": { "history_visibility": value } }]);
    for (state, expected) in [
        (visibility("invited"), "invited"),
        (visibility("world_readable"), "world_readable"),
        (visibility("whatever"), "joined"),
        (json!([]), "shared"),
    ] {
        let setting = Setting::new().await;
        let one = setting.restricted("one").await;
        setting.takes("1", "$event");
        setting.tells_visibility("$event", &state);

        assert_eq!(send(&setting.alice, "1", [&one]).await.status(), 200);

        assert_eq!(setting.server.known_event("$event").await.unwrap().visibility.unwrap(), expected);
        let asked = setting.homeserver.asked();
        let asked = asked.iter().find(|asked| asked.target.contains("/context/")).unwrap();
        assert_eq!(asked.headers["authorization"], "Bearer syt_alice");
        assert!(asked.target.contains("limit=0") && asked.target.contains("lazy_load_members"), "{}", asked.target);
    }
}

#[tokio::test]
async fn what_is_not_known_of_an_event_is_asked_for_later_as_an_application_service() {
    let setting = Setting::with("appservice_token = 'as_token'\nhomeserver_token = 'hs_token'\n").await;
    let one = setting.restricted("one").await;
    setting.takes("1", "$event");

    assert_eq!(send(&setting.alice, "1", [&one]).await.status(), 200);
    assert_eq!(setting.server.known_event("$event").await.unwrap().visibility, None);
    setting.tells_visibility("$event", &json!([]));
    setting.server.advance(std::time::Duration::from_mins(1));

    until("the visibility is known", async || {
        setting.server.known_event("$event").await.unwrap().visibility.as_deref() == Some("shared")
    })
    .await;
    let asked = setting.homeserver.asked();
    let asked = asked.iter().rfind(|asked| asked.target.contains("/context/")).unwrap();
    assert_eq!(asked.headers["authorization"], "Bearer as_token");
    assert!(asked.target.contains("user_id=%40alice%3Aexample.org"), "{}", asked.target);
}

#[tokio::test]
async fn a_link_to_an_event_that_was_redacted_before_is_dead() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    setting.takes("1", "$event");
    setting.server.redact("$event").await;

    assert_eq!(send(&setting.alice, "1", [&one]).await.status(), 200);

    let known = setting.server.known_event("$event").await.unwrap();
    assert!(known.redacted_at.is_some());
    assert_eq!(known.room_id.unwrap(), "!room:example.org");
}

#[tokio::test]
async fn of_two_requests_at_once_exactly_one_has_the_media() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;
    for txn in 0..10 {
        setting.takes(&txn.to_string(), &format!("$event{txn}"));
    }

    let requests = (0..10).map(|txn| {
        let (alice, one) = (setting.alice.clone(), one.clone());
        tokio::spawn(async move { send(&alice, &txn.to_string(), [&one]).await })
    });
    let mut sent = Vec::new();
    for request in requests.collect::<Vec<_>>() {
        let answer = request.await.unwrap();
        if answer.status() == 200 {
            sent.push(answer.json()["event_id"].as_str().unwrap().to_owned());
        } else {
            assert_eq!(answer.error(), invalid());
        }
    }

    let [event_id] = &sent[..] else { panic!("one was sent, not {sent:?}") };
    assert_eq!(setting.audience(&one).await, event(event_id));
    assert_eq!(setting.forwarded(&Method::PUT).len(), 1);
}

#[tokio::test]
async fn a_path_that_the_homeserver_may_read_in_another_way_is_not_passed_on() {
    let setting = Setting::new().await;
    let one = setting.restricted("one").await;

    for room in ["..%2f..%2f..%2f..%2f_synapse%2fadmin", "%252e%252e%252f%252e%252e%252f..%2f..%2f_synapse%2fadmin"] {
        let path = format!("/_matrix/client/v3/rooms/{room}/state/v1");
        assert_eq!(put(&setting.alice, path.clone(), &message()).await.error(), (404, "M_UNRECOGNIZED".to_owned()));
        assert_eq!(setting.alice.get(path.clone()).await.error(), (404, "M_UNRECOGNIZED".to_owned()));
        assert_eq!(put(&setting.alice, attaching(path, [&one]), &message()).await.error(), invalid());
    }

    assert!(setting.homeserver.asked().iter().all(|asked| !asked.target.contains("_synapse")));
}
