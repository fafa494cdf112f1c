//! What a call that failed means: whether anything happened, and whether asking again helps.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_sdk_autoscaling::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, http::HttpResponse, interceptors::BeforeTransmitInterceptorContextRef,
    },
    error::{BoxError, ProvideErrorMetadata, SdkError},
};

use crate::driver::DriverError;

/// A call that failed, by what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It was turned away for now; asking again in a moment helps.
    Busy(String),
    /// It was never sent.
    Unsent(String),
    /// It was refused.
    No(String),
    /// It was sent, and what came of it is not known.
    Unsure(String),
}

impl Failure {
    /// By the error's code and not by its HTTP status: `ResourceContention` is a 500 that says "ask again", and a 500
    /// without a code we know may come from in front of a call that was carried out.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>, sent: &Sent) -> Self
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let SdkError::ServiceError(answer) = error else {
            let text = chain(error);
            return if sent.is_certainly_not(error) { Self::Unsent(text) } else { Self::Unsure(text) };
        };
        let said = answer.err().meta();
        let text = match (said.code(), said.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            (None, _) => format!("HTTP {} without a reason", answer.raw().status().as_u16()),
        };
        match said.code() {
            Some(
                "ResourceContention"
                | "Throttling"
                | "ThrottlingException"
                | "RequestThrottled"
                | "RequestLimitExceeded"
                | "TooManyRequestsException"
                | "BandwidthLimitExceeded",
            ) => Self::Busy(text),
            Some("ScalingActivityInProgress") => Self::No(format!("{text} (asked again at the next tick)")),
            Some("AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation") => {
                Self::No(format!("{text} (allow the action to the role or user that the scaler runs as)"))
            }
            Some(
                "ExpiredToken"
                | "ExpiredTokenException"
                | "InvalidClientTokenId"
                | "UnrecognizedClientException"
                | "SignatureDoesNotMatch"
                | "MissingAuthenticationToken"
                | "IncompleteSignature",
            ) => Self::No(format!("{text} (the credentials are not good, or the clock is wrong)")),
            Some(_) if answer.raw().status().is_client_error() => Self::No(text),
            _ => Self::Unsure(text),
        }
    }

    /// What it means for a question, which changes nothing.
    pub(super) fn of_read(self) -> DriverError {
        match self {
            Self::No(why) => DriverError::Refused(why),
            Self::Busy(why) | Self::Unsent(why) | Self::Unsure(why) => DriverError::Unavailable(why),
        }
    }

    /// What it means for a change.
    pub(super) fn of_write(self) -> DriverError {
        match self {
            Self::No(why) => DriverError::Refused(why),
            Self::Busy(why) | Self::Unsent(why) => DriverError::Unavailable(why),
            Self::Unsure(why) => DriverError::Unknown(why),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Busy(why) | Self::Unsent(why) | Self::No(why) | Self::Unsure(why)) = self;
        f.write_str(why)
    }
}

/// An error with its causes, each said once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

/// Whether a request got as far as the wire: what failed before (no credentials, say) has certainly not happened.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent(Arc<AtomicBool>);

impl Sent {
    /// The time limit passed.
    pub(super) fn late(&self, limit: Duration) -> Failure {
        if self.0.load(Ordering::Acquire) {
            Failure::Unsure(format!("no answer within {limit:.1?}"))
        } else {
            Failure::Unsent(format!("no credentials within {limit:.1?}"))
        }
    }

    fn is_certainly_not<E, R>(&self, error: &SdkError<E, R>) -> bool
    where
        E: std::error::Error + 'static,
        R: fmt::Debug + 'static,
    {
        if !self.0.load(Ordering::Acquire) {
            return true;
        }
        let SdkError::DispatchFailure(failure) = error else { return false };
        // The one time limit that the connector has is that for connecting.
        failure.is_timeout() || failure.as_connector_error().is_some_and(|error| never_connected(error))
    }
}

/// Whether the machine was not reached at all.
fn never_connected(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{AddrNotAvailable, ConnectionRefused, HostUnreachable, NetworkUnreachable};
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && matches!(io.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | AddrNotAvailable)
        {
            return true;
        }
        next = cause.source();
    }
    false
}

impl Intercept for Sent {
    fn name(&self) -> &'static str {
        "sent"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.store(true, Ordering::Release);
        Ok(())
    }
}
