//! What fuzzing reaches of the program's parsers (feature `fuzz`; nothing of this is in the product's build).
//!
//! The targets and their assertions are in `fuzz/`. They call the very functions that the program calls; where these
//! are private to a room, the room's own `parsers` opens them to this module alone.

pub use crate::consensus::parsers::{AppendAnswer, AppendCall, TransferCall, VoteAnswer, VoteCall, addressee};
pub use crate::engine::parsers::Entry;

/// Segments of the log.
pub mod log {
    pub use crate::log::parsers::*;
}
/// Blocks and snapshots.
pub mod store {
    pub use crate::store::parsers::*;
}
/// Frames between nodes.
pub mod frame {
    pub use crate::peer::parsers::*;
}
/// Queries of PDS.
pub mod pds {
    pub use crate::services::pds::parsers::pairs;
}
/// Queries of the trail, and events that are filed in it.
pub mod trail {
    pub use crate::services::trail::parsers::*;
}
/// What passkeys say.
pub mod webauthn {
    pub use crate::services::identity::login::parsers::*;
}
/// The trail as a file.
pub mod export {
    pub use crate::cli::audit::parsers::*;
}

use crate::wire::record::Record;
use crate::{access, audit, consensus, engine, node, peer, services};

/// Something to do with every record that the program stores or sends.
pub trait Visit {
    fn record<R: Record + PartialEq + std::fmt::Debug>(&mut self, name: &'static str);
}

/// Visits all records, always in this order: seeds name them by their place, so that new ones go to the end.
pub fn every_record(visit: &mut impl Visit) {
    of_the_rooms_below(visit);
    of_the_services(visit);
    of_people_and_permissions(visit);
    visit.record::<services::directory::users::command::InvitePasskey>(
        "services::directory::users::command::InvitePasskey",
    );
    visit.record::<services::directory::users::devices::PasskeyInvitation>(
        "services::directory::users::devices::PasskeyInvitation",
    );
    visit.record::<services::identity::login::command::PasskeySignIn>(
        "services::identity::login::command::PasskeySignIn",
    );
    visit.record::<services::identity::login::command::CardSignIn>("services::identity::login::command::CardSignIn");
    visit.record::<services::identity::login::command::Enrol>("services::identity::login::command::Enrol");
    visit.record::<services::identity::login::rows::PasskeyUse>("services::identity::login::rows::PasskeyUse");
    visit.record::<audit::parsers::Seal>("audit::Seal");
    of_prescriptions(visit);
}

fn of_the_rooms_below(visit: &mut impl Visit) {
    visit.record::<access::caller::Caller>("access::caller::Caller");
    visit.record::<audit::parsers::Head>("audit::Head");
    visit.record::<audit::parsers::Record>("audit::Record");
    visit.record::<consensus::parsers::SnapshotCall>("consensus::SnapshotCall");
    visit.record::<consensus::parsers::SnapshotAnswer>("consensus::SnapshotAnswer");
    visit.record::<consensus::parsers::RejoinCall>("consensus::RejoinCall");
    visit.record::<consensus::parsers::RejoinAnswer>("consensus::RejoinAnswer");
    visit.record::<consensus::parsers::FetchCall>("consensus::FetchCall");
    visit.record::<consensus::parsers::FetchedRecord>("consensus::FetchedRecord");
    visit.record::<consensus::parsers::FetchAnswer>("consensus::FetchAnswer");
    visit.record::<consensus::parsers::PieceCall>("consensus::PieceCall");
    visit.record::<consensus::parsers::PieceAnswer>("consensus::PieceAnswer");
    visit.record::<consensus::parsers::PositionRecord>("consensus::PositionRecord");
    visit.record::<consensus::parsers::VoteRecord>("consensus::VoteRecord");
    visit.record::<consensus::parsers::VotersRecord>("consensus::VotersRecord");
    visit.record::<consensus::parsers::MemberRecord>("consensus::MemberRecord");
    visit.record::<consensus::parsers::MembershipRecord>("consensus::MembershipRecord");
    visit.record::<consensus::parsers::AppendCall>("consensus::AppendCall");
    visit.record::<consensus::parsers::EntryRecord>("consensus::EntryRecord");
    visit.record::<consensus::parsers::AppendAnswer>("consensus::AppendAnswer");
    visit.record::<consensus::parsers::VoteCall>("consensus::VoteCall");
    visit.record::<consensus::parsers::VoteAnswer>("consensus::VoteAnswer");
    visit.record::<consensus::parsers::TransferCall>("consensus::TransferCall");
    visit.record::<consensus::parsers::TransferAnswer>("consensus::TransferAnswer");
    visit.record::<engine::bulk::Put>("engine::bulk::Put");
    visit.record::<engine::bulk::Get>("engine::bulk::Get");
    visit.record::<engine::bulk::Got>("engine::bulk::Got");
    visit.record::<engine::draft::Timer>("engine::draft::Timer");
    visit.record::<engine::draft::OutboxItem>("engine::draft::OutboxItem");
    visit.record::<engine::parsers::Entry>("engine::Entry");
    visit.record::<engine::parsers::Errand>("engine::Errand");
    visit.record::<engine::parsers::Report>("engine::Report");
    visit.record::<engine::parsers::Ask>("engine::Ask");
    visit.record::<engine::parsers::Told>("engine::Told");
    visit.record::<engine::parsers::FenceAsk>("engine::FenceAsk");
    visit.record::<engine::parsers::FenceTold>("engine::FenceTold");
    visit.record::<engine::Command>("engine::Command");
    visit.record::<engine::parsers::Mark>("engine::Mark");
    visit.record::<engine::parsers::Remembered>("engine::Remembered");
    visit.record::<engine::parsers::DeadLetter>("engine::DeadLetter");
    visit.record::<engine::parsers::Room>("engine::Room");
    visit.record::<crate::log::parsers::Mark>("log::Mark");
    visit.record::<crate::log::parsers::GroupMark>("log::GroupMark");
    visit.record::<crate::log::parsers::Checkpoint>("log::Checkpoint");
    visit.record::<node::parsers::Change>("node::Change");
    visit.record::<node::parsers::Changed>("node::Changed");
    visit.record::<node::parsers::NodeStatus>("node::NodeStatus");
    visit.record::<node::parsers::GroupStatus>("node::GroupStatus");
    visit.record::<node::parsers::Acknowledged>("node::Acknowledged");
    visit.record::<node::token::Token>("node::token::Token");
    visit.record::<node::token::JoinAsk>("node::token::JoinAsk");
    visit.record::<node::token::JoinAnswer>("node::token::JoinAnswer");
    visit.record::<peer::parsers::Hello>("peer::Hello");
    visit.record::<peer::parsers::Failure>("peer::Failure");
    visit.record::<crate::store::Applied>("store::Applied");
    visit.record::<crate::store::parsers::Head>("store::Head");
    visit.record::<crate::store::parsers::Foot>("store::Foot");
}

fn of_the_services(visit: &mut impl Visit) {
    visit.record::<services::directory::command::SetOrganisation>("services::directory::command::SetOrganisation");
    visit.record::<services::directory::command::SetSystem>("services::directory::command::SetSystem");
    visit.record::<services::directory::command::SetMailbox>("services::directory::command::SetMailbox");
    visit.record::<services::directory::command::SetWorkflow>("services::directory::command::SetWorkflow");
    visit.record::<services::directory::command::Disable>("services::directory::command::Disable");
    visit.record::<services::directory::command::SetNode>("services::directory::command::SetNode");
    visit.record::<services::directory::command::RemoveNode>("services::directory::command::RemoveNode");
    visit.record::<services::directory::command::SetInvitation>("services::directory::command::SetInvitation");
    visit.record::<services::directory::command::UseInvitation>("services::directory::command::UseInvitation");
    visit.record::<services::directory::command::DirectoryReply>("services::directory::command::DirectoryReply");
    visit.record::<services::directory::notice::MailboxClosed>("services::directory::notice::MailboxClosed");
    visit.record::<services::directory::rows::Organisation>("services::directory::rows::Organisation");
    visit.record::<services::directory::rows::System>("services::directory::rows::System");
    visit.record::<services::directory::rows::Mailbox>("services::directory::rows::Mailbox");
    visit.record::<services::directory::rows::Workflow>("services::directory::rows::Workflow");
    visit.record::<services::directory::rows::Member>("services::directory::rows::Member");
    visit.record::<services::directory::rows::Invitation>("services::directory::rows::Invitation");
    visit.record::<services::mesh::parsers::Sweep>("services::mesh::Sweep");
    visit.record::<services::mesh::command::Request>("services::mesh::command::Request");
    visit.record::<services::mesh::command::Page>("services::mesh::command::Page");
    visit.record::<services::mesh::command::SendHeaders>("services::mesh::command::SendHeaders");
    visit.record::<services::mesh::command::Deliver>("services::mesh::command::Deliver");
    visit.record::<services::mesh::command::DeliverPart>("services::mesh::command::DeliverPart");
    visit.record::<services::mesh::command::Complete>("services::mesh::command::Complete");
    visit.record::<services::mesh::command::Settle>("services::mesh::command::Settle");
    visit.record::<services::mesh::command::Release>("services::mesh::command::Release");
    visit.record::<services::mesh::command::Enquiry>("services::mesh::command::Enquiry");
    visit.record::<services::mesh::command::Requeue>("services::mesh::command::Requeue");
    visit.record::<services::mesh::command::Reset>("services::mesh::command::Reset");
    visit.record::<services::mesh::command::MakeReport>("services::mesh::command::MakeReport");
    visit.record::<services::mesh::command::AddEvent>("services::mesh::command::AddEvent");
    visit.record::<services::mesh::command::Reply>("services::mesh::command::Reply");
    visit.record::<services::mesh::refusal::Problem>("services::mesh::refusal::Problem");
    visit.record::<services::mesh::rows::Party>("services::mesh::rows::Party");
    visit.record::<services::mesh::rows::Event>("services::mesh::rows::Event");
    visit.record::<services::mesh::rows::Message>("services::mesh::rows::Message");
    visit.record::<services::mesh::rows::Part>("services::mesh::rows::Part");
    visit.record::<services::mesh::rows::InboxEntry>("services::mesh::rows::InboxEntry");
    visit.record::<services::mesh::rows::MailboxState>("services::mesh::rows::MailboxState");
    visit.record::<services::mesh::rows::Handshake>("services::mesh::rows::Handshake");
    visit.record::<services::mesh::rows::UsedToken>("services::mesh::rows::UsedToken");
    visit.record::<services::mesh::rows::Upload>("services::mesh::rows::Upload");
    visit.record::<services::mesh::rows::UploadPart>("services::mesh::rows::UploadPart");
    visit.record::<services::mesh::parsers::Housekeeping>("services::mesh::Housekeeping");
    visit.record::<services::mesh::parsers::Job>("services::mesh::Job");
}

fn of_people_and_permissions(visit: &mut impl Visit) {
    visit.record::<services::directory::command::PutOrganisation>("services::directory::command::PutOrganisation");
    visit.record::<services::directory::command::PutSystem>("services::directory::command::PutSystem");
    visit.record::<services::directory::command::PutEndpoint>("services::directory::command::PutEndpoint");
    visit.record::<services::directory::command::Batch>("services::directory::command::Batch");
    visit.record::<services::directory::rows::Endpoint>("services::directory::rows::Endpoint");
    visit.record::<services::directory::organisation::Period>("services::directory::organisation::Period");
    visit.record::<services::directory::organisation::Role>("services::directory::organisation::Role");
    visit.record::<services::directory::organisation::Relationship>("services::directory::organisation::Relationship");
    visit.record::<services::directory::organisation::Succession>("services::directory::organisation::Succession");
    visit.record::<services::directory::organisation::Address>("services::directory::organisation::Address");
    visit.record::<services::directory::organisation::Contact>("services::directory::organisation::Contact");
    visit.record::<services::directory::applications::Application>("services::directory::applications::Application");
    visit.record::<services::directory::applications::Product>("services::directory::applications::Product");
    visit.record::<services::directory::applications::PublicKey>("services::directory::applications::PublicKey");
    visit.record::<services::directory::applications::Attribute>("services::directory::applications::Attribute");
    visit.record::<services::directory::applications::SetApplication>(
        "services::directory::applications::SetApplication",
    );
    visit.record::<services::identity::command::Claim>("services::identity::command::Claim");
    visit.record::<services::identity::command::OnToken>("services::identity::command::OnToken");
    visit.record::<services::identity::command::IdentityReply>("services::identity::command::IdentityReply");
    visit.record::<services::identity::rows::AccessToken>("services::identity::rows::AccessToken");
    visit.record::<services::pds::parsers::Noted>("services::pds::Noted");
    visit.record::<services::pds::parsers::Retrieve>("services::pds::Retrieve");
    visit.record::<services::pds::parsers::Update>("services::pds::Update");
    visit.record::<services::pds::parsers::Create>("services::pds::Create");
    visit.record::<services::pds::parsers::SetCard>("services::pds::SetCard");
    visit.record::<services::pds::parsers::Import>("services::pds::Import");
    visit.record::<services::pds::parsers::Supersede>("services::pds::Supersede");
    visit.record::<services::pds::parsers::Reply>("services::pds::Reply");
    visit.record::<services::pds::rows::Person>("services::pds::rows::Person");
    visit.record::<services::pds::rows::Actor>("services::pds::rows::Actor");
    visit.record::<services::pds::rows::Version>("services::pds::rows::Version");
    visit.record::<services::pds::rows::Card>("services::pds::rows::Card");
    visit.record::<services::pds::import::Line>("services::pds::import::Line");
    of_users(visit);
}

fn of_users(visit: &mut impl Visit) {
    visit.record::<services::directory::users::command::SetUser>("services::directory::users::command::SetUser");
    visit.record::<services::directory::users::command::StandUser>("services::directory::users::command::StandUser");
    visit.record::<services::directory::users::command::SetRole>("services::directory::users::command::SetRole");
    visit.record::<services::directory::users::command::EndRole>("services::directory::users::command::EndRole");
    visit.record::<services::directory::users::command::SetAuthenticator>(
        "services::directory::users::command::SetAuthenticator",
    );
    visit.record::<services::directory::users::command::DropAuthenticator>(
        "services::directory::users::command::DropAuthenticator",
    );
    visit.record::<services::directory::users::User>("services::directory::users::User");
    visit.record::<services::directory::users::OrgPerson>("services::directory::users::OrgPerson");
    visit.record::<services::directory::users::RoleProfile>("services::directory::users::RoleProfile");
    visit.record::<services::directory::users::Coded>("services::directory::users::Coded");
    visit.record::<services::directory::users::Authenticator>("services::directory::users::Authenticator");
    of_trail_and_relationships(visit);
    of_traces(visit);
    of_log_in(visit);
}

fn of_trail_and_relationships(visit: &mut impl Visit) {
    visit.record::<services::trail::command::Refused>("services::trail::command::Refused");
    visit.record::<services::trail::command::Shown>("services::trail::command::Shown");
    visit.record::<services::trail::command::File>("services::trail::command::File");
    visit.record::<services::trail::command::Reply>("services::trail::command::Reply");
    visit.record::<services::relationships::command::Create>("services::relationships::command::Create");
    visit.record::<services::relationships::command::Find>("services::relationships::command::Find");
    visit.record::<services::relationships::command::Change>("services::relationships::command::Change");
    visit.record::<services::relationships::command::Raise>("services::relationships::command::Raise");
    visit.record::<services::relationships::command::FindAlerts>("services::relationships::command::FindAlerts");
    visit.record::<services::relationships::command::ChangeAlert>("services::relationships::command::ChangeAlert");
    visit.record::<services::relationships::command::Noted>("services::relationships::command::Noted");
    visit.record::<services::relationships::command::Due>("services::relationships::command::Due");
    visit.record::<services::relationships::command::Reply>("services::relationships::command::Reply");
    visit.record::<services::relationships::rows::Doer>("services::relationships::rows::Doer");
    visit.record::<services::relationships::rows::Relationship>("services::relationships::rows::Relationship");
    visit.record::<services::relationships::rows::Alert>("services::relationships::rows::Alert");
    visit.record::<services::directory::registration::Step>("services::directory::registration::Step");
    visit.record::<services::directory::registration::Registration>("services::directory::registration::Registration");
    visit.record::<services::directory::registration::evidence::Evidence>(
        "services::directory::registration::evidence::Evidence",
    );
    visit.record::<services::directory::registration::command::Apply>(
        "services::directory::registration::command::Apply",
    );
    visit.record::<services::directory::registration::command::Verify>(
        "services::directory::registration::command::Verify",
    );
    visit.record::<services::directory::registration::command::Sponsor>(
        "services::directory::registration::command::Sponsor",
    );
    visit.record::<services::directory::registration::command::Grant>(
        "services::directory::registration::command::Grant",
    );
    visit.record::<services::directory::registration::command::Issue>(
        "services::directory::registration::command::Issue",
    );
    visit.record::<services::directory::registration::command::Pause>(
        "services::directory::registration::command::Pause",
    );
    visit.record::<services::directory::registration::command::End>("services::directory::registration::command::End");
}

fn of_traces(visit: &mut impl Visit) {
    visit.record::<crate::wire::post::Arrived>("wire::post::Arrived");
    visit.record::<crate::wire::post::Body>("wire::post::Body");
    visit.record::<crate::wire::post::Dispatch>("wire::post::Dispatch");
    visit.record::<crate::wire::post::Taken>("wire::post::Taken");
    visit.record::<services::pds::trace::command::TraceChecked>("services::pds::trace::TraceChecked");
    visit.record::<services::pds::trace::command::TracePiece>("services::pds::trace::TracePiece");
    visit.record::<services::pds::trace::command::TraceFold>("services::pds::trace::TraceFold");
    visit.record::<services::pds::trace::command::TraceEnd>("services::pds::trace::TraceEnd");
    visit.record::<services::pds::trace::command::TraceReply>("services::pds::trace::TraceReply");
    visit.record::<services::pds::trace::rows::TraceJob>("services::pds::trace::rows::TraceJob");
    visit.record::<services::pds::trace::rows::TraceDone>("services::pds::trace::rows::TraceDone");
    visit.record::<services::pds::trace::TraceTimer>("services::pds::trace::TraceTimer");
    visit.record::<services::pds::rows::Marks>("services::pds::rows::Marks");
}

fn of_log_in(visit: &mut impl Visit) {
    visit.record::<services::identity::login::command::Note>("services::identity::login::command::Note");
    visit.record::<services::identity::login::command::Open>("services::identity::login::command::Open");
    visit.record::<services::identity::login::command::Take>("services::identity::login::command::Take");
    visit.record::<services::identity::login::command::SignIn>("services::identity::login::command::SignIn");
    visit.record::<services::identity::login::command::UseSession>("services::identity::login::command::UseSession");
    visit.record::<services::identity::login::command::IssueCode>("services::identity::login::command::IssueCode");
    visit.record::<services::identity::login::command::Redeem>("services::identity::login::command::Redeem");
    visit.record::<services::identity::login::command::Trade>("services::identity::login::command::Trade");
    visit.record::<services::identity::login::command::EndSession>("services::identity::login::command::EndSession");
    visit.record::<services::identity::login::command::Show>("services::identity::login::command::Show");
    visit.record::<services::identity::login::command::LoginReply>("services::identity::login::command::LoginReply");
    visit.record::<services::identity::login::rows::LoginRequest>("services::identity::login::rows::LoginRequest");
    visit.record::<services::identity::login::rows::Grant>("services::identity::login::rows::Grant");
    visit.record::<services::identity::login::rows::Attempts>("services::identity::login::rows::Attempts");
    visit.record::<services::directory::signing::SigningKey>("services::directory::signing::SigningKey");
    visit.record::<services::directory::signing::AddSigningKey>("services::directory::signing::AddSigningKey");
    visit
        .record::<services::identity::login::notices::LogoutNotice>("services::identity::login::notices::LogoutNotice");
    visit.record::<services::identity::login::notices::NoticeSent>("services::identity::login::notices::NoticeSent");
    visit.record::<services::directory::users::baseline::Baseline>("services::directory::users::baseline::Baseline");
    visit.record::<services::directory::users::baseline::SetBaseline>(
        "services::directory::users::baseline::SetBaseline",
    );
    visit.record::<services::directory::issuers::CitizenIssuer>("services::directory::issuers::CitizenIssuer");
    visit.record::<services::directory::issuers::SetIssuer>("services::directory::issuers::SetIssuer");
    visit.record::<services::identity::rows::Citizen>("services::identity::rows::Citizen");
    visit.record::<services::directory::registration::rules::Rules>("services::directory::registration::rules::Rules");
    visit.record::<services::directory::registration::rules::SetRules>(
        "services::directory::registration::rules::SetRules",
    );
}

fn of_prescriptions(visit: &mut impl Visit) {
    visit.record::<services::eps::message::Sender>("services::eps::message::Sender");
    visit.record::<services::eps::message::Item>("services::eps::message::Item");
    visit.record::<services::eps::message::Order>("services::eps::message::Order");
    visit.record::<services::eps::message::Cancel>("services::eps::message::Cancel");
    visit.record::<services::eps::message::Release>("services::eps::message::Release");
    visit.record::<services::eps::message::Dispensed>("services::eps::message::Dispensed");
    visit.record::<services::eps::message::Dispense>("services::eps::message::Dispense");
    visit.record::<services::eps::message::Return>("services::eps::message::Return");
    visit.record::<services::eps::message::Withdraw>("services::eps::message::Withdraw");
    visit.record::<services::eps::message::Claim>("services::eps::message::Claim");
    visit.record::<services::eps::record::Dispenser>("services::eps::record::Dispenser");
    visit.record::<services::eps::record::Nomination>("services::eps::record::Nomination");
    visit.record::<services::eps::record::LineItem>("services::eps::record::LineItem");
    visit.record::<services::eps::record::Snapshot>("services::eps::record::Snapshot");
    visit.record::<services::eps::record::Claim>("services::eps::record::Claim");
    visit.record::<services::eps::record::Issue>("services::eps::record::Issue");
    visit.record::<services::eps::record::Cancellation>("services::eps::record::Cancellation");
    visit.record::<services::eps::record::Event>("services::eps::record::Event");
    visit.record::<services::eps::record::Prescription>("services::eps::record::Prescription");
    visit.record::<services::eps::command::Noted>("services::eps::command::Noted");
    visit.record::<services::eps::command::Pick>("services::eps::command::Pick");
    visit.record::<services::eps::command::Show>("services::eps::command::Show");
    visit.record::<services::eps::command::Updates>("services::eps::command::Updates");
    visit.record::<services::eps::command::Sweep>("services::eps::command::Sweep");
    visit.record::<services::eps::command::Advance>("services::eps::command::Advance");
    visit.record::<services::eps::command::Reply>("services::eps::command::Reply");
    visit.record::<services::eps::status::StatusUpdate>("services::eps::status::StatusUpdate");
    visit.record::<crate::wire::person_changed::PersonChanged>("wire::person_changed::PersonChanged");
    visit.record::<crate::wire::person_changed::NominatedNow>("wire::person_changed::NominatedNow");
    visit.record::<services::identity::command::Stranger>("services::identity::command::Stranger");
    visit.record::<services::trail::command::Staff>("services::trail::command::Staff");
    visit.record::<audit::parsers::Begin>("audit::Begin");
    visit.record::<services::directory::issuers::LogInAt>("services::directory::issuers::LogInAt");
    visit.record::<services::identity::login::command::CitizenIn>("services::identity::login::command::CitizenIn");
    visit.record::<node::backup::manifest::BackupFile>("node::backup::BackupFile");
    visit.record::<node::backup::manifest::BackupPart>("node::backup::BackupPart");
    visit.record::<node::backup::manifest::Manifest>("node::backup::Manifest");
    visit.record::<node::backup::manifest::SealedManifest>("node::backup::SealedManifest");
    visit.record::<services::directory::sites::Serving>("services::directory::sites::Serving");
    visit.record::<services::directory::sites::SetServing>("services::directory::sites::SetServing");
    visit.record::<services::directory::arrival::Arrival>("services::directory::arrival::Arrival");
    visit.record::<services::directory::arrival::SetArrival>("services::directory::arrival::SetArrival");
    visit.record::<services::trail::command::Relayed>("services::trail::command::Relayed");
    visit.record::<services::directory::level::SiteLevel>("services::directory::level::SiteLevel");
    visit.record::<services::directory::level::RaiseLevel>("services::directory::level::RaiseLevel");
    visit.record::<node::backup::archive::ArchiveHead>("node::backup::ArchiveHead");
    visit.record::<node::backup::archive::ArchivedEntry>("node::backup::ArchivedEntry");
    visit.record::<services::directory::sites::Promote>("services::directory::sites::Promote");
    visit.record::<node::parsers::SuccessionCall>("node::SuccessionCall");
    visit.record::<node::parsers::SuccessionAnswer>("node::SuccessionAnswer");
    visit.record::<node::parsers::PlaceRecord>("node::PlaceRecord");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    struct Names(BTreeSet<&'static str>);

    impl Visit for Names {
        fn record<R: Record + PartialEq + std::fmt::Debug>(&mut self, name: &'static str) {
            assert!(self.0.insert(name), "{name} is visited twice");
        }
    }

    fn count(dir: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
        let of = |path: std::path::PathBuf| match path.is_dir() {
            true => count(&path),
            // The macro's own tests.
            false if path.ends_with("wire/record.rs") => 0,
            false if path.extension().is_none_or(|x| x != "rs") => 0,
            false => {
                let text = std::fs::read_to_string(&path).unwrap();
                text.lines().filter(|l| l.trim_start().starts_with("pub struct ") && l.contains(" v1 {")).count()
            }
        };
        entries.map(of).sum()
    }

    #[test]
    fn no_record_is_left_out() {
        let mut names = Names(BTreeSet::new());
        every_record(&mut names);
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        assert_eq!(names.0.len(), count(&source), "a record is missing in `every_record`");
    }
}
