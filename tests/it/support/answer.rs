//! One message from a server, and how it is printed.
//!
//! Printed canonically, so that two servers can be compared line by line: what
//! differs between any two runs (process ids, keys, object ids, source lines of
//! the server, incident ids) is replaced by a mark.

/// A message from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Type byte; 0 for the end of the connection.
    pub tag: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

impl Answer {
    /// The peer has closed.
    pub fn closed() -> Answer {
        Answer {
            tag: 0,
            body: Vec::new(),
        }
    }

    /// Cuts one message off the front, if it is there as a whole.
    pub fn take(inbox: &mut Vec<u8>) -> Option<Answer> {
        let header = inbox.get(..5)?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        if inbox.len() < length + 1 {
            return None;
        }
        let message: Vec<u8> = inbox.drain(..length + 1).collect();
        Some(Answer {
            tag: message[0],
            body: message[5..].to_vec(),
        })
    }

    /// A big-endian number of the body.
    pub fn int32(&self, at: usize) -> i32 {
        i32::from_be_bytes(self.body[at..at + 4].try_into().expect("four bytes"))
    }

    fn int16(&self, at: usize) -> i16 {
        i16::from_be_bytes(self.body[at..at + 2].try_into().expect("two bytes"))
    }

    /// A field of an ErrorResponse or NoticeResponse; empty when absent.
    pub fn field(&self, code: u8) -> String {
        self.fields()
            .into_iter()
            .find(|f| f.0 == code)
            .map(|f| f.1)
            .unwrap_or_default()
    }

    /// SQLSTATE of an error.
    pub fn code(&self) -> String {
        self.field(b'C')
    }

    fn fields(&self) -> Vec<(u8, String)> {
        let parts = self
            .body
            .split(|byte| *byte == 0)
            .filter(|part| !part.is_empty());
        parts
            .map(|part| (part[0], String::from_utf8_lossy(&part[1..]).into_owned()))
            .collect()
    }

    /// Values of a DataRow; what is not text is printed as hexadecimal.
    pub fn row(&self) -> Vec<Option<String>> {
        let mut at = 2;
        let mut values = Vec::new();
        for _ in 0..self.int16(0) {
            let length = self.int32(at);
            at += 4;
            if length < 0 {
                values.push(None);
                continue;
            }
            let end = at + length as usize;
            values.push(Some(printable(&self.body[at..end])));
            at = end;
        }
        values
    }

    /// Names of a RowDescription.
    pub fn column_names(&self) -> Vec<String> {
        let columns = self.columns();
        let names = columns
            .split(", ")
            .filter_map(|column| column.split(' ').next());
        names.map(str::to_owned).collect()
    }

    fn columns(&self) -> String {
        let mut at = 2;
        let mut columns = Vec::new();
        for _ in 0..self.int16(0) {
            let end = at
                + self.body[at..]
                    .iter()
                    .position(|b| *b == 0)
                    .expect("a column name");
            let name = String::from_utf8_lossy(&self.body[at..end]).into_owned();
            let table = if self.int32(end + 1) == 0 {
                ""
            } else {
                " of-table"
            };
            let number = self.int16(end + 5);
            let (oid, size, modifier) = (
                self.int32(end + 7),
                self.int16(end + 11),
                self.int32(end + 13),
            );
            let format = self.int16(end + 17);
            columns.push(format!(
                "{name}{table} #{number} type={oid}/{size}/{modifier} format={format}"
            ));
            at = end + 19;
        }
        columns.join(", ")
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body)
            .trim_end_matches('\0')
            .to_owned()
    }

    /// The message in one line.
    pub fn line(&self) -> String {
        match self.tag {
            0 => "(closed)".to_owned(),
            b'1' => "ParseComplete".to_owned(),
            b'2' => "BindComplete".to_owned(),
            b'3' => "CloseComplete".to_owned(),
            b'C' => format!("CommandComplete {}", self.text()),
            b'D' => format!("DataRow {}", self.row_line()),
            b'E' => format!("ErrorResponse {}", self.error_line()),
            b'N' => format!("NoticeResponse {}", self.error_line()),
            b'G' => format!("CopyInResponse {}", hex(&self.body)),
            b'H' => format!("CopyOutResponse {}", hex(&self.body)),
            b'd' => format!("CopyData {}", printable(&self.body)),
            b'c' => "CopyDone".to_owned(),
            b'I' => "EmptyQueryResponse".to_owned(),
            b'K' => "BackendKeyData".to_owned(),
            b'n' => "NoData".to_owned(),
            b's' => "PortalSuspended".to_owned(),
            b'S' => format!("ParameterStatus {}", self.text().replace('\0', "=")),
            b't' => format!("ParameterDescription {}", self.parameters()),
            b'T' => format!("RowDescription {}", self.columns()),
            b'V' => format!("FunctionCallResponse {}", hex(&self.body)),
            b'A' => format!(
                "NotificationResponse {}",
                printable(&self.body[4..]).replace('\0', " ")
            ),
            b'R' => format!("Authentication {}", self.int32(0)),
            b'v' => format!("NegotiateProtocolVersion {}", printable(&self.body)),
            b'Z' => format!("ReadyForQuery {}", self.text()),
            other => format!("{} {}", other as char, hex(&self.body)),
        }
    }

    fn row_line(&self) -> String {
        let values: Vec<String> = self
            .row()
            .into_iter()
            .map(|v| v.unwrap_or_else(|| "NULL".to_owned()))
            .collect();
        values.join(" | ")
    }

    fn parameters(&self) -> String {
        let count = self.int16(0).max(0) as usize;
        let types: Vec<String> = (0..count)
            .map(|i| self.int32(2 + 4 * i).to_string())
            .collect();
        types.join(" ")
    }

    /// `V` repeats the severity, `F`, `L` and `R` say where in the server's sources.
    fn error_line(&self) -> String {
        let mut parts = Vec::new();
        for (code, value) in self.fields() {
            match code {
                b'S' | b'C' | b'M' => parts.push(value),
                b'V' | b'F' | b'L' | b'R' => {}
                b'D' => parts.push(format!("detail={}", without_incident(&value))),
                b'H' => parts.push(format!("hint={value}")),
                b'P' => parts.push(format!("position={value}")),
                b'n' => parts.push(format!("constraint={value}")),
                other => parts.push(format!("{}={value}", other as char)),
            }
        }
        parts.join(" ")
    }
}

/// The incident id differs in every answer.
fn without_incident(text: &str) -> String {
    match text.rfind("ncident ") {
        Some(at) => format!("{}ncident …", &text[..at]),
        None => text.to_owned(),
    }
}

fn printable(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text)
            if text
                .chars()
                .all(|c| !c.is_control() || c == '\n' || c == '\t') =>
        {
            text.replace('\n', "\\n").replace('\t', "\\t")
        }
        _ => format!("x{}", hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
