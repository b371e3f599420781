//! The one filter of logs and spans: it passes what the log's directives pass and,
//! where spans are exported, every span from `info` up, however little is logged.
//!
//! One filter for both, on purpose. With one for each, spans were lost:
//! `tracing::enabled!`, which sqlx calls before every query, leaves its result
//! behind for the next span on that thread.

use tracing::{
    Event, Level, Metadata, Subscriber,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    layer::{Context, Layered},
};

use crate::telemetry::messages;

/// The subscriber below the layers for logs and spans.
pub(crate) type FilteredRegistry = Layered<TelemetryFilter, Registry>;

/// The filter of logs and spans.
#[derive(Debug)]
pub(crate) struct TelemetryFilter {
    pub(crate) log: EnvFilter,
    /// Whether spans are exported.
    pub(crate) spans: bool,
}

impl TelemetryFilter {
    fn is_exported(&self, metadata: &Metadata<'_>) -> bool {
        // The spans of a batch belong to no request.
        let of_batches = metadata.target().starts_with("batch_aint_one");
        self.spans && metadata.is_span() && *metadata.level() <= Level::INFO && !of_batches
    }
}

impl<S: Subscriber> Layer<S> for TelemetryFilter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let logged = Layer::<S>::register_callsite(&self.log, metadata);
        if messages::takes(metadata) {
            return Interest::always();
        }
        if self.is_exported(metadata) { Interest::always() } else { logged }
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.is_exported(metadata) || messages::takes(metadata) || Layer::<S>::enabled(&self.log, metadata, context)
    }

    /// What the lab records is taken out here, so that it is logged only if the directives say so.
    fn event_enabled(&self, event: &Event<'_>, context: Context<'_, S>) -> bool {
        if !messages::is_wire(event.metadata()) {
            return true;
        }
        if messages::records() {
            messages::take(event);
        }
        Layer::<S>::enabled(&self.log, event.metadata(), context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        if messages::records() {
            return Some(LevelFilter::TRACE);
        }
        let logged = Layer::<S>::max_level_hint(&self.log);
        if self.spans { logged.map(|logged| logged.max(LevelFilter::INFO)) } else { logged }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        Layer::<S>::on_new_span(&self.log, attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Layer::<S>::on_record(&self.log, id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Layer::<S>::on_enter(&self.log, id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Layer::<S>::on_exit(&self.log, id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        Layer::<S>::on_close(&self.log, id, context);
    }
}
