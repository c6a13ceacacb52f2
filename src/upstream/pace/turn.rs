//! When a request may be sent, and why not now.

use std::time::Duration;

use tokio::time::Instant;

use crate::upstream::metrics::{Shed, WindowName};

/// Why a request is not sent, and how long to wait before it could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Refusal {
    /// The upstream asked for a pause.
    Paused(Duration),
    /// A window of the vendor's is used up.
    Window(WindowName, Duration),
    /// The gateway's own limits.
    Shed(Shed, Duration),
}

impl Refusal {
    /// The same with another time to wait.
    pub(in super::super) fn with_wait(self, wait: Duration) -> Self {
        match self {
            Self::Paused(_) => Self::Paused(wait),
            Self::Window(name, _) => Self::Window(name, wait),
            Self::Shed(shed, _) => Self::Shed(shed, wait),
        }
    }

    /// How long it is to wait.
    pub(in super::super) fn wait(self) -> Duration {
        match self {
            Self::Paused(wait) | Self::Window(_, wait) | Self::Shed(_, wait) => wait,
        }
    }

    /// The window that is used up.
    pub(in super::super) fn window(self) -> Option<WindowName> {
        match self {
            Self::Window(name, _) => Some(name),
            Self::Paused(_) | Self::Shed(..) => None,
        }
    }
}

/// When a request may be sent, and what it waits for until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Turn {
    pub(in super::super) at: Instant,
    pub(super) waits_for: WaitsFor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitsFor {
    Pause,
    Rate,
    Slot,
    Window(WindowName),
}

impl Turn {
    /// A turn that comes with a free slot.
    pub(in super::super) fn of_slot(at: Instant) -> Self {
        Self { at, waits_for: WaitsFor::Slot }
    }

    /// Whether it may come earlier: when others leave the queue, or take less time.
    pub(in super::super) fn is_guessed(self) -> bool {
        matches!(self.waits_for, WaitsFor::Rate | WaitsFor::Slot)
    }

    /// Why the request is not sent now.
    pub(in super::super) fn refusal(self, now: Instant) -> Refusal {
        let wait = self.at.saturating_duration_since(now);
        match self.waits_for {
            WaitsFor::Pause => Refusal::Paused(wait),
            WaitsFor::Rate => Refusal::Shed(Shed::Rate, wait),
            WaitsFor::Slot => Refusal::Shed(Shed::TooLate, wait),
            WaitsFor::Window(name) => Refusal::Window(name, wait),
        }
    }
}
