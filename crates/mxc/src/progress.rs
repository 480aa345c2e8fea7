//! A bar on the terminal, and a word when something is interrupted and goes on.

use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tintype_client::{ErrorCode, Event};

use crate::{failure::printable, output::Output};

/// How often a bar without news is drawn, so that a wait looks like one.
const TICK: Duration = Duration::from_millis(120);

/// The progress of one transfer. It leaves no trace on the terminal.
#[derive(Clone)]
pub struct Progress {
    bar: ProgressBar,
    output: Output,
}

impl Progress {
    /// Begins; `length` is in bytes, if it is known. Where standard error is no terminal nothing is drawn.
    pub fn of(what: &str, length: Option<u64>, output: Output) -> Self {
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        bar.set_style(style(length));
        bar.set_message(printable(what));
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self { bar, output }
    }

    /// The length is known now.
    pub fn length(&self, length: Option<u64>) {
        self.bar.set_style(style(length));
        if let Some(length) = length {
            self.bar.set_length(length);
        }
    }

    /// Somebody to tell what happens.
    pub fn listener(&self) -> impl Fn(Event<'_>) + Send + Sync + use<> {
        let progress = self.clone();
        move |event| progress.tell(event)
    }

    fn tell(&self, event: Event<'_>) {
        match event {
            Event::Progress { at } => self.bar.set_position(at),
            // The spinner says that it waits; a line each time would say no more.
            Event::Paused { error, .. } if error.errcode() == Some(&ErrorCode::NOT_YET_UPLOADED) => {}
            Event::Paused { error, pause } => {
                let seconds = pause.as_secs_f32();
                self.note(&format!("{error}; trying again in {seconds:.1} s"));
            }
            Event::Resumed { at } => {
                self.bar.reset_eta();
                self.note(&format!("resuming at {at} bytes ({})", HumanBytes(at)));
            }
            _ => {}
        }
    }

    fn note(&self, note: &str) {
        self.bar.suspend(|| self.output.note(note));
    }

    /// Takes it off the terminal.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn style(length: Option<u64>) -> ProgressStyle {
    let template = match length {
        Some(_) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        None => "{spinner} {msg} {bytes} {bytes_per_sec}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
