//! What a transfer told of itself.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tintype_client::Event;

/// Keeps what it is told.
#[derive(Debug, Clone, Default)]
pub struct Told(Arc<Mutex<Kept>>);

#[derive(Debug, Clone, Default)]
struct Kept {
    progress: Vec<u64>,
    paused: Vec<Duration>,
    resumed: Vec<u64>,
}

impl Told {
    /// Somebody to tell it.
    pub fn listener(&self) -> impl Fn(Event<'_>) + Send + Sync + use<> {
        let told = self.clone();
        move |event| {
            let mut kept = told.0.lock().expect("nobody fails with it");
            match event {
                Event::Progress { at } => kept.progress.push(at),
                Event::Paused { pause, .. } => kept.paused.push(pause),
                Event::Resumed { at } => kept.resumed.push(at),
                _ => {}
            }
        }
    }

    /// How far it was, each time it was told.
    pub fn progress(&self) -> Vec<u64> {
        self.kept().progress
    }

    /// How long it paused, each time it did.
    pub fn paused(&self) -> Vec<Duration> {
        self.kept().paused
    }

    /// Where it went on.
    pub fn resumed(&self) -> Vec<u64> {
        self.kept().resumed
    }

    fn kept(&self) -> Kept {
        self.0.lock().expect("nobody fails with it").clone()
    }
}
