//! Media of a profile: for whoever is shown the profile.

use http::Method;
use serde_json::{Value, json};
use tintype_domain::Mxc;
use tintype_testing::{Response, paths};

use super::{ALICE, World, encoded, every_way, hidden, not_visible, tell_nothing, undecided};

async fn avatar(world: &World) -> Mxc {
    let mxc = world.unattached().await;
    world.server.attach_to_profile(&mxc, ALICE).await;
    mxc
}

fn profile_path() -> String {
    format!("/_matrix/client/v3/profile/{}", encoded(ALICE))
}

fn answers(world: &World, status: u16, body: &Value) {
    world.homeserver.answers_to(Method::GET, &profile_path(), Some("bob_token"), status, body);
}

#[tokio::test]
async fn whoever_is_shown_the_profile_is_given_its_avatar_even_one_that_was_replaced() {
    let world = World::start().await;
    let mxc = avatar(&world).await;
    answers(&world, 200, &json!({ "avatar_url": "mxc://example.org/newer" }));

    let given = every_way(&world.bob, &mxc).await;

    assert_eq!(given.each_ref().map(Response::status), [200, 200, 206, 304, 200, 200]);
    assert_eq!(given[0].header("cache-control"), "private, no-cache");
    assert_eq!(world.asked(&profile_path()), 1);
}

#[tokio::test]
async fn who_is_not_shown_the_profile_is_not_given_its_avatar() {
    for status in [403, 404] {
        let world = World::start().await;
        let mxc = avatar(&world).await;
        answers(&world, status, &hidden());

        let refused = every_way(&world.bob, &mxc).await;

        tell_nothing(&refused, 403);
        assert_eq!(refused[0].error(), not_visible());
    }
}

#[tokio::test]
async fn a_profile_that_cannot_be_asked_for_shows_nothing() {
    for status in [429, 500, 504] {
        let world = World::start().await;
        let mxc = avatar(&world).await;
        answers(&world, status, &hidden());

        assert_eq!(world.bob.get(paths::download(&mxc)).await.error(), undecided(), "{status}");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_for_a_profile_is_refused_in_the_homeservers_words() {
    let world = World::start().await;
    let mxc = avatar(&world).await;
    let words = json!({ "errcode": "M_UNKNOWN_TOKEN", "error": "Who?" });
    answers(&world, 401, &words);

    let refused = world.bob.get(paths::download(&mxc)).await;

    assert_eq!((refused.status(), refused.json()), (401, words));
}
