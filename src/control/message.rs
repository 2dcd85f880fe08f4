//! What is said on a control socket: lines of JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Error;

/// The version of the protocol. A gate answers requests of its own version alone:
/// the program that asks is the same program.
pub const VERSION: u32 = 1;

/// What a command comes to: a value, or why not.
pub type Answer = Result<Value, String>;

/// The first line of a connection.
#[derive(Clone, Serialize, Deserialize)]
pub struct Request {
    /// Of the protocol.
    pub version: u32,
    /// What to do.
    pub command: String,
    /// With what.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub arguments: Map<String, Value>,
}

impl std::fmt::Debug for Request {
    /// Without the arguments: a cancel request carries a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("version", &self.version)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

impl Request {
    /// A request of this version; `arguments` should be a JSON object.
    pub fn new(command: &str, arguments: Value) -> Request {
        let arguments = match arguments {
            Value::Object(arguments) => arguments,
            _ => Map::new(),
        };
        Request {
            version: VERSION,
            command: command.to_owned(),
            arguments,
        }
    }

    /// The arguments in the shape that a command wants them in.
    pub fn arguments<T: serde::de::DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_value(Value::Object(self.arguments.clone()))
            .map_err(|error| format!("`{}` cannot be understood: {error}", self.command))
    }
}

/// The answer to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reply {
    /// Of the protocol.
    pub version: u32,
    /// Whether it was done.
    pub ok: bool,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub result: Value,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        let (ok, result, error) = match answer {
            Ok(result) => (true, result, None),
            Err(error) => (false, Value::Null, Some(error)),
        };
        Reply {
            version: VERSION,
            ok,
            result,
            error,
        }
    }
}

impl Reply {
    /// What came of it.
    pub fn into_result(self) -> Result<Value, Error> {
        if self.ok {
            Ok(self.result)
        } else {
            let said = self.error.unwrap_or_else(|| "it was refused".to_owned());
            Err(Error::Refused(said))
        }
    }
}
