//! What two people do in an encrypted room, and what each gets to know of it.

use std::{collections::BTreeMap, path::Path, pin::pin};

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use matrix_sdk::{
    Client, Room, RoomMemberships,
    attachment::AttachmentConfig,
    deserialized_responses::EncryptionInfo,
    ruma::{
        EventId, OwnedEventId, OwnedUserId, TransactionId,
        api::client::{
            receipt::create_receipt::v3::ReceiptType,
            room::create_room::v3::{Request as CreateRoom, RoomPreset},
            to_device::send_event_to_device::v3::Request as SendToDevice,
        },
        events::{
            AnyToDeviceEvent, InitialStateEvent, ToDeviceEventType,
            receipt::{ReceiptThread, SyncReceiptEvent},
            room::{
                MediaSource,
                encryption::RoomEncryptionEventContent,
                member::{MembershipState, OriginalSyncRoomMemberEvent, StrippedRoomMemberEvent},
                message::{MessageType, OriginalSyncRoomMessageEvent, RoomMessageEventContent},
            },
            typing::SyncTypingEvent,
        },
        serde::Raw,
        to_device::DeviceIdOrAllDevices,
    },
};
use serde_json::{Value, json};

use crate::{
    person::{Account, Person},
    say, tokens,
};

const PING: &str = "org.tintype.ping";

/// Leads the whole conversation.
pub async fn lead(base_url: &str, picture: &Path, alice_with: &Account, bob_with: &Account) -> Result<()> {
    let alice = Person::log_in(base_url, alice_with).await?;
    let bob = Person::log_in(base_url, bob_with).await?;

    let (inviter, room, other_room) = meet(&alice, &bob).await?;
    say("invited_by", &json!(inviter));
    say("question", &message(&room, &alice, &bob, "Do you see this?").await?);
    say("answer", &message(&other_room, &bob, &alice, "I do.").await?);
    let (shown, seen, media) = attachment(&room, picture, &alice, &bob).await?;
    say("attachment", &seen);
    say("read_by", &json!(receipt(&other_room, &shown, &alice).await?));
    say("typing", &json!(typing(&other_room, &alice).await?));
    say("ping", &ping(&alice, &bob).await?);
    say("tablet", &on_a_tablet(base_url, &room, &alice, bob_with).await?);
    say("other_device", &tokens::delete_a_device(base_url, &media, &bob, bob_with).await?);
    say("session", &tokens::log_out(&media, &alice, &bob).await?);
    Ok(())
}

/// Alice makes an encrypted room, and Bob comes in. Returns who has invited him, and the room as each sees it.
async fn meet(alice: &Person, bob: &Person) -> Result<(OwnedUserId, Room, Room)> {
    let mut request = CreateRoom::new();
    request.preset = Some(RoomPreset::PrivateChat);
    let encryption = RoomEncryptionEventContent::with_recommended_defaults();
    request.initial_state = vec![InitialStateEvent::with_empty_state_key(encryption).to_raw_any()];
    let room = alice.client.create_room(request).await.context("creating a room")?;

    let guest = bob.user_id.clone();
    let invitation = bob.hears(move |event: StrippedRoomMemberEvent, room: Room| {
        let is_invitation = event.content.membership == MembershipState::Invite && event.state_key == guest;
        is_invitation.then_some((event.sender, room))
    });
    room.invite_user_by_id(&bob.user_id).await.context("inviting")?;
    let (inviter, other_room) = invitation.await;

    let joined = |person: &Person| {
        let user_id = bob.user_id.clone();
        person.hears(move |event: OriginalSyncRoomMemberEvent, _: Client| {
            (event.content.membership == MembershipState::Join && event.state_key == user_id).then_some(())
        })
    };
    let (seen_by_alice, seen_by_bob) = (joined(alice), joined(bob));
    other_room.join().await.context("joining")?;
    seen_by_alice.await;
    seen_by_bob.await;
    let members = other_room.members(RoomMemberships::JOIN).await.context("reading the members")?;
    anyhow::ensure!(members.iter().any(|member| alice.is(member.user_id())), "{members:?}");
    Ok((inviter, room, other_room))
}

/// A text as it is read.
async fn message(room: &Room, sender: &Person, reader: &Person, text: &str) -> Result<Value> {
    let arrived = arrives(sender, reader);
    room.send(RoomMessageEventContent::text_plain(text)).await.context("sending a message")?;
    let (event, sent_as) = arrived.await;
    Ok(json!({ "type": "m.room.message", "sent_as": sent_as, "body": event.content.body() }))
}

/// The next message, and the type it was sent as.
fn arrives(sender: &Person, reader: &Person) -> impl Future<Output = (OriginalSyncRoomMessageEvent, &'static str)> {
    let sender = sender.user_id.clone();
    reader.hears(move |event: OriginalSyncRoomMessageEvent, encryption: Option<EncryptionInfo>| {
        let sent_as = if encryption.is_some() { "m.room.encrypted" } else { "m.room.message" };
        (event.sender == sender).then_some((event, sent_as))
    })
}

/// Alice sends a picture, Bob looks at it. Returns the event, what Bob got, and the media.
async fn attachment(
    room: &Room,
    picture: &Path,
    alice: &Person,
    bob: &Person,
) -> Result<(OwnedEventId, Value, MediaSource)> {
    let original = std::fs::read(picture).context("reading the picture")?;
    let name = picture.file_name().and_then(|name| name.to_str()).context("the picture has a name")?;
    let arrived = arrives(alice, bob);
    room.send_attachment(name, &mime::IMAGE_JPEG, original.clone(), AttachmentConfig::new())
        .await
        .context("sending an attachment")?;
    let (event, _) = arrived.await;
    let MessageType::Image(image) = &event.content.msgtype else {
        anyhow::bail!("not an image: {event:?}");
    };
    let plaintext = bob.client.media().get_file(image, false).await.context("looking at the attachment")?;
    let stored = tokens::download(&bob.client, &image.source, &token(bob)?).await?.bytes().await?;
    let seen = json!({
        "filename": image.body,
        "is_stored_in_clear": stored == original,
        "is_the_same": plaintext == Some(original),
    });
    Ok((event.event_id, seen, image.source.clone()))
}

/// Bob has read the event. Returns whom Alice's client shows as readers of it.
async fn receipt(room: &Room, read: &EventId, alice: &Person) -> Result<Vec<OwnedUserId>> {
    let event_id = read.to_owned();
    let seen = alice.hears(move |event: SyncReceiptEvent, _: Client| {
        let readers = event.content.get(&event_id)?.get(&matrix_sdk::ruma::events::receipt::ReceiptType::Read)?;
        Some(readers.keys().cloned().collect())
    });
    room.send_single_receipt(ReceiptType::Read, ReceiptThread::Main, read.to_owned()).await.context("a receipt")?;
    Ok(seen.await)
}

/// Bob types. Returns whom Alice's client shows as typing.
async fn typing(room: &Room, alice: &Person) -> Result<OwnedUserId> {
    let seen = alice.hears(|event: SyncTypingEvent, _: Client| event.content.user_ids.first().cloned());
    room.typing_notice(true).await.context("typing")?;
    Ok(seen.await)
}

/// Bob's device sends Alice's device something. Returns what arrived.
async fn ping(alice: &Person, bob: &Person) -> Result<Value> {
    let seen = alice.hears(|event: Raw<AnyToDeviceEvent>, _: Client| {
        let event: Value = event.deserialize_as_unchecked().ok()?;
        (event["type"] == PING).then(|| json!({ "from": event["sender"], "content": event["content"] }))
    });
    let device = alice.client.device_id().context("Alice is logged in")?.to_owned();
    let content = Raw::new(&json!({ "text": "Are you there?" }))?.cast_unchecked();
    let messages =
        BTreeMap::from([(alice.user_id.clone(), BTreeMap::from([(DeviceIdOrAllDevices::DeviceId(device), content)]))]);
    let request = SendToDevice::new_raw(ToDeviceEventType::from(PING), TransactionId::new(), messages);
    bob.client.send(request).await.context("sending to a device")?;
    Ok(seen.await)
}

/// Bob takes a second device, with a client of a newer kind. Returns what it shows of the next message.
async fn on_a_tablet(base_url: &str, room: &Room, alice: &Person, bob_with: &Account) -> Result<Value> {
    let mut devices = pin!(alice.client.encryption().devices_stream().await?);
    let tablet = Person::log_in_sliding(base_url, bob_with).await?;
    let device = tablet.client.device_id().context("it is logged in")?;
    // Only then does she encrypt for it.
    while let Some(known) = devices.next().await {
        if known.new.values().any(|devices| devices.contains_key(device)) {
            return message(room, alice, &tablet, "And this?").await;
        }
    }
    anyhow::bail!("Alice gets to know no devices")
}

fn token(person: &Person) -> Result<String> {
    person.client.access_token().context("a client that is logged in has a token")
}
