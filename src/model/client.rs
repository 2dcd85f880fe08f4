//! Who connects, and the state of its session that decisions may depend on.

use std::net::IpAddr;
use std::sync::Arc;

/// Identity, fixed at login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// User name the client authenticated as.
    pub user: Arc<str>,
    /// Database as named by the client.
    pub database: Arc<str>,
    /// Address of the peer; none on a Unix socket.
    pub address: Option<IpAddr>,
}

/// Transaction state as the last ReadyForQuery said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum TransactionState {
    /// Not in a transaction block.
    #[default]
    Idle = 0,
    /// In a transaction block.
    Active = 1,
    /// In a failed transaction block.
    Failed = 2,
}

impl TransactionState {
    /// From the status byte of ReadyForQuery.
    pub fn from_byte(byte: u8) -> TransactionState {
        match byte {
            b'T' => TransactionState::Active,
            b'E' => TransactionState::Failed,
            _ => TransactionState::Idle,
        }
    }

    /// The status byte of ReadyForQuery.
    pub fn byte(self) -> u8 {
        match self {
            TransactionState::Idle => b'I',
            TransactionState::Active => b'T',
            TransactionState::Failed => b'E',
        }
    }
}

/// State of the session that changes while it lives.
///
/// `generation` moves with every change, so a remembered verdict that read
/// session state is compared by one number first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionFacts {
    /// application_name, as last set.
    pub application: Arc<str>,
    /// Current role: the server user until SET ROLE is seen.
    pub role: Arc<str>,
    /// search_path as a list; none when unknown (then a name matches in any schema).
    pub search_path: Option<Arc<[Arc<str>]>>,
    /// Transaction state.
    pub transaction: TransactionState,
    /// standard_conforming_strings.
    pub standard_strings: bool,
    /// Other tracked settings, lower-case name and value.
    pub settings: Vec<(Arc<str>, Arc<str>)>,
    /// Moves with every change to the fields above, `transaction` excepted.
    pub generation: u64,
}

impl Default for SessionFacts {
    fn default() -> Self {
        SessionFacts {
            application: Arc::from(""),
            role: Arc::from(""),
            search_path: None,
            transaction: TransactionState::Idle,
            standard_strings: true,
            settings: Vec::new(),
            generation: 0,
        }
    }
}

/// A bind value as it came: text or binary, or NULL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindValue {
    /// Type OID as declared at Parse, 0 when left to the server.
    pub type_oid: u32,
    /// True for the binary format.
    pub binary: bool,
    /// Bytes; none for NULL.
    pub bytes: Option<bytes::Bytes>,
}
