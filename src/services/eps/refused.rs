//! Why the store does not carry a message out (spec/eps.md §19.2, §19.3): what `steps` decide and `show` words.

/// A refusal; how it is told depends on who asked (prescribing or dispensing vocabulary).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `DUPLICATE_PRESCRIPTION_ID`
    DuplicatePrescription,
    /// `DUPLICATE_MEDICATIONREQUEST_ID`
    DuplicateItem,
    /// `MISSING_DIGITAL_SIGNATURE`
    MissingSignature,
    /// `PRESCRIPTION_NOT_FOUND`
    NotFound,
    /// `PRESCRIPTION_INVALID_STATE_TRANSITION`
    Transition,
    /// `MEDICATIONREQUEST_INVALID_STATE_TRANSITION`
    ItemTransition,
    /// `MEDICATIONREQUEST_NOT_FOUND`
    ItemNotFound,
    /// `CLAIM_INVALID_NOT_DISPENSED`
    NotDispensed,
    /// `MISMATCH_AUTHORISED_REPEAT_COUNT`
    RepeatCount,
    /// `DISPENSE_AMEND_IDENTIFIER_MISMATCH`
    AmendMismatch,
    /// `CLAIM_AMEND_PERIOD_ISSUE`
    ClaimPeriod,
    /// `FAILURE_TO_PROCESS_MESSAGE`, with the reason that follows "Information missing or invalid - ".
    Failure(String),
    /// Release: `PRESCRIPTION_CANCELLED`
    Cancelled,
    /// Release: `PRESCRIPTION_EXPIRED`
    Expired,
    /// Release: `RESOURCE_NOT_FOUND`
    ResourceNotFound,
    /// `PRESCRIPTION_WITH_ANOTHER_DISPENSER`
    WithAnotherDispenser,
    /// Release: `PRESCRIPTION_DISPENSED`
    Dispensed,
}
