//! Signatures that are none, or of something else.

use tintype_domain::ServerName;

use super::{Scene, gives_media, signed_by, target, unauthorized};

fn text(value: &http::HeaderValue) -> String {
    value.to_str().expect("a signature is text").to_owned()
}

#[tokio::test]
async fn a_server_that_signs_is_given_media() {
    let scene = Scene::new("").await;

    assert!(gives_media(&scene.asked_by(&scene.peer).await));

    // Its keys are kept.
    assert!(gives_media(&scene.asked_by(&scene.peer).await));
    assert_eq!(scene.peer.key_requests(), 1);
}

#[tokio::test]
async fn a_signature_of_something_else_is_refused() {
    let scene = Scene::new("").await;
    let (ours, theirs, key) = (scene.ours.name(), scene.peer.name(), scene.peer.key());
    let other = ServerName::parse("other.example").unwrap();
    let of = |destination, method, target: &str| text(&signed_by(key, theirs, destination, method, target));
    let this = scene.target();
    let right = of(ours, "GET", &this);
    let swapped = of(&other, "GET", &this).replace("other.example", ours.as_str());
    let signature = right.rfind("sig=\"").unwrap() + 5;
    let mut turned = right.clone();
    turned.replace_range(signature..=signature, if &right[signature..=signature] == "A" { "B" } else { "A" });

    for (name, authorization) in [
        ("a wrong signature", turned),
        ("other media", of(ours, "GET", &target("other"))),
        ("another endpoint", of(ours, "GET", &this.replace("download", "thumbnail"))),
        ("the same with a query", of(ours, "GET", &format!("{this}?timeout_ms=0"))),
        ("the same with an empty query", of(ours, "GET", &format!("{this}?"))),
        ("the whole URL", of(ours, "GET", &format!("https://{ours}{this}"))),
        ("another method", of(ours, "HEAD", &this)),
        ("a method in small letters", of(ours, "get", &this)),
        ("another destination", of(&other, "GET", &this)),
        ("the destination replaced", swapped),
        ("the destination left out", of(&other, "GET", &this).replace("destination=\"other.example\",", "")),
        ("our name in other letters", right.replace(ours.as_str(), &ours.as_str().to_uppercase())),
        ("our name without its port", right.replace(ours.as_str(), ours.host())),
        ("another key", right.replace("ed25519:peer", "ed25519:other")),
        ("its name in other letters", right.replace("origin=\"t", "origin=\"T")),
    ] {
        assert_eq!(scene.asks(authorization).await.error(), unauthorized(), "{name}");
    }
    assert!(gives_media(&scene.asks(&right).await));
    // Servers before version 1.3 of the specification.
    let without = right.replace(&format!("destination=\"{ours}\","), "");
    assert!(gives_media(&scene.asks(without).await));
}

#[tokio::test]
async fn a_signature_that_was_given_to_another_of_our_servers_is_of_no_use_at_this_one() {
    let scene = Scene::new("").await;
    let other = tintype_testing::TestServer::federating("other", "").await;

    let replayed = other.anonymous().get(scene.target()).header("authorization", scene.signature()).await;

    assert_eq!(replayed.error(), unauthorized());
    assert_eq!(scene.peer.connections(), 0);
}

#[tokio::test]
async fn malformed_credentials_are_refused_and_nobody_is_asked_for_keys() {
    let scene = Scene::new("").await;
    let right = text(&scene.signature());
    let name = scene.peer.name();

    for authorization in [
        "",
        "X-Matrix",
        "X-Matrix ",
        "X-Matrix ,,,",
        "Bearer abc",
        "Basic YTpi",
        "X-Matrixx a=b",
        &right.replace("X-Matrix ", ""),
        &right.replace("origin=", "origi="),
        &right.replace("sig=", "si="),
        &right.replace("key=", "ke="),
        &right.replace("ed25519:peer", "rsa:peer"),
        &right.replace("ed25519:peer", "ed25519:"),
        &right.replace(&format!("origin=\"{name}\""), "origin=\"\""),
        &right.replace(&format!("origin=\"{name}\""), "origin=\"a b\""),
        &right.replace(&format!("origin=\"{name}\""), "origin=\"../..\""),
        &right.replace(&format!("origin=\"{name}\""), &format!("origin=\"{}\"", "a".repeat(256))),
        &right.replace(&format!("origin=\"{name}\""), "origin=\"a.example:99999\""),
        &format!("{right},origin=\"{name}\""),
        &format!("{right},sig=\"AAAA\""),
        &right[..right.len() - 1],
        &right[..right.len() - 10],
        &format!("{right} more"),
        &format!("{right}{}", ",a=b".repeat(2_000)),
    ] {
        assert_eq!(scene.asks(authorization).await.error(), unauthorized(), "{authorization}");
    }
    assert_eq!(scene.asks(b"X-Matrix origin=\"\xff\"").await.error(), unauthorized());
    let none = scene.ours.anonymous().get(scene.target()).await;
    assert_eq!(none.error(), unauthorized());
    let of_user = scene.ours.user("alice").await.get(scene.target()).await;
    assert_eq!(of_user.error(), unauthorized());
    assert_eq!(scene.peer.connections(), 0);
}

#[tokio::test]
async fn of_several_signatures_of_one_server_one_has_to_be_right() {
    let scene = Scene::new("").await;
    let other = tintype_testing::Peer::start("other").await;
    let right = scene.signature();
    let wrong = scene.peer.authorization(scene.ours.name(), "/other");
    let theirs = other.authorization(scene.ours.name(), &scene.target());

    assert!(gives_media(&scene.asks(&wrong).header("authorization", &right).await));
    assert!(gives_media(&scene.asks("Bearer abc").header("authorization", &right).await));
    assert_eq!(scene.asks(&wrong).header("authorization", &wrong).await.error(), unauthorized());
    assert_eq!(scene.asks(&right).header("authorization", &theirs).await.error(), unauthorized());
    assert_eq!(scene.asks(&right).header("authorization", "X-Matrix a").await.error(), unauthorized());
    let many = (0..10).fold(scene.asks(&right), |request, _| request.header("authorization", &right));
    assert_eq!(many.await.error(), unauthorized());
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn a_target_is_signed_as_it_is_sent() {
    let scene = Scene::new("").await;
    let plain = scene.target();
    let id = scene.mxc.media_id.as_str();
    let encoded = target(&format!("%{:02x}{}", id.as_bytes()[0], &id[1..]));
    let query = format!("{plain}?timeout_ms=0&x=%7B%22y%22%3A1%7D&z=+%20&%C3%A4");

    for (sent, signed) in [
        (&encoded, &plain),
        (&plain, &encoded),
        (&encoded, &target(&format!("%2561{}", &id[1..]))),
        (&query, &plain),
        (&query, &query.replace("%20", "+")),
        (&query, &query.replace("%7B", "%7b")),
        (&query, &format!("{plain}?x=%7B%22y%22%3A1%7D&timeout_ms=0&z=+%20&%C3%A4")),
    ] {
        let signature = scene.peer.authorization(scene.ours.name(), signed);
        let answer = scene.ours.anonymous().get(sent).header("authorization", signature).await;
        assert_eq!(answer.error(), unauthorized(), "{sent} {signed}");
    }
    for sent in [&encoded, &query] {
        let signature = scene.peer.authorization(scene.ours.name(), sent);
        let answer = scene.ours.anonymous().get(sent).header("authorization", signature).await;
        assert!(gives_media(&answer), "{sent}: {answer:?}");
    }
}

#[tokio::test]
async fn nobody_learns_whether_there_is_media_before_it_is_known_who_asks() {
    let scene = Scene::new("").await;
    let unreachable = tintype_testing::Peer::start("unreachable").await;
    unreachable.publishes(tintype_testing::Script::error(500, "M_UNKNOWN"));
    let wrong = scene.peer.authorization(scene.ours.name(), "/other");
    let unknown = unreachable.authorization(scene.ours.name(), &scene.target());

    for authorization in ["", "X-Matrix a", wrong.to_str().unwrap(), unknown.to_str().unwrap()] {
        let ask = |path: &str| scene.ours.anonymous().get(path).header("authorization", authorization);
        let there = ask(&scene.target()).await;
        let expected = (there.status(), there.bytes().clone());
        assert_eq!(there.error(), unauthorized());
        for path in [
            &target("missing"),
            &target("a.b"),
            &target("%00"),
            &target("..%2f"),
            &format!("{}?timeout_ms=nonsense", scene.target()),
            &scene.target().replace("download", "thumbnail"),
            &scene.target().replace("v1", "unstable/org.matrix.msc3916.v2"),
        ] {
            let answer = ask(path).await;
            assert_eq!((answer.status(), answer.bytes().clone()), expected, "{authorization} {path}");
        }
    }
}

#[tokio::test]
async fn who_signs_right_is_told_what_is_wrong_with_the_question() {
    let scene = Scene::new("").await;
    let id = scene.mxc.media_id.clone();
    let not_found = |path: &str| (path.to_owned(), 404, "M_NOT_FOUND");
    let invalid = |query: &str| (format!("{}?{query}", target(id.as_str())), 400, "M_INVALID_PARAM");

    for (path, status, errcode) in [
        not_found(&target("missing")),
        not_found(&target("a.b")),
        not_found(&target("%00")),
        not_found(&target("..%2f..%2fetc")),
        not_found(&target("%ff")),
        not_found(&target("%zz")),
        not_found(&target(&"a".repeat(300))),
        invalid("timeout_ms=nonsense"),
        invalid("timeout_ms=-1"),
        invalid("timeout_ms=1.5"),
        invalid("timeout_ms="),
        invalid("timeout_ms=99999999999999999999999"),
    ] {
        let signature = scene.peer.authorization(scene.ours.name(), &path);
        let answer = scene.ours.anonymous().get(&path).header("authorization", signature).await;
        assert_eq!(answer.error(), (status, errcode.to_owned()), "{path}");
    }
}
