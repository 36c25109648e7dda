//! What aria2 1.36 makes of a message, by its sources: JsonParser.cc, rpc_helper.cc, RpcMethod.cc, RpcMethodImpl.cc. As
//! lenient as it is: a key that comes twice loses its value, any escape passes, fractions and all behind the value are
//! passed over.

/// A value as aria2 holds it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(Vec<u8>),
    Whole(i64),
    Flag(bool),
    Null,
    List(Vec<Value>),
    Dict(Vec<(Vec<u8>, Value)>),
}

/// A call that aria2 would run.
#[derive(Debug, PartialEq)]
pub struct Run {
    pub method: String,
    /// What it took for its secret.
    pub token: Option<String>,
    pub params: Vec<Value>,
}

/// The calls that a message makes; none if aria2 would not read it.
pub fn runs(message: &[u8]) -> Option<Vec<Run>> {
    let mut parser = Parser { bytes: message, at: 0 };
    let mut runs = Vec::new();
    match parser.value(0)? {
        dict @ Value::Dict(_) => call(&dict, &mut runs),
        Value::List(items) => items.iter().for_each(|item| call(item, &mut runs)),
        _ => {}
    }
    Some(runs)
}

fn call(value: &Value, runs: &mut Vec<Run>) {
    let (Some(_), Some(Value::Text(method))) = (value.get("id"), value.get("method")) else { return };
    let params = match value.get("params") {
        None => Vec::new(),
        Some(Value::List(params)) => params.clone(),
        Some(_) => return,
    };
    if method != b"system.multicall" {
        return run(method, params, runs);
    }
    let Some(Value::List(items)) = params.first() else { return };
    for item in items {
        match (item.get("methodName"), item.get("params")) {
            (Some(Value::Text(method)), _) if method == b"system.multicall" => {}
            (Some(Value::Text(method)), Some(Value::List(params))) => run(method, params.clone(), runs),
            (Some(Value::Text(method)), _) => run(method, Vec::new(), runs),
            _ => {}
        }
    }
}

fn run(method: &[u8], mut params: Vec<Value>, runs: &mut Vec<Run>) {
    let method = String::from_utf8_lossy(method).into_owned();
    let token = match params.first() {
        Some(Value::Text(text)) if text.starts_with(b"token:") && !method.starts_with("system.") => {
            Some(String::from_utf8_lossy(&text[6..]).into_owned())
        }
        _ => None,
    };
    if token.is_some() {
        params.remove(0);
    }
    runs.push(Run { method, token, params });
}

impl Value {
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(members) => {
                let mut found = members.iter().filter(|(name, _)| name == key.as_bytes());
                // The second one takes the first one's value away and brings none (ValueBase.cc, `Dict::put`).
                found.next().filter(|_| found.next().is_none()).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// As C functions see it: up to the first NUL.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => {
                let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
                Some(String::from_utf8_lossy(&text[..end]).into_owned())
            }
            _ => None,
        }
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn after_space(&mut self) -> Option<u8> {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.next()
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > 50 {
            return None;
        }
        match self.after_space()? {
            b'{' => self.dict(depth),
            b'[' => self.list(depth),
            b'"' => self.text().map(Value::Text),
            b't' => self.word(b"rue", Value::Flag(true)),
            b'f' => self.word(b"alse", Value::Flag(false)),
            b'n' => self.word(b"ull", Value::Null),
            b'-' => self.number().map(|number| Value::Whole(-number)),
            b'0'..=b'9' => {
                self.at -= 1;
                self.number().map(Value::Whole)
            }
            _ => None,
        }
    }

    fn word(&mut self, rest: &[u8], means: Value) -> Option<Value> {
        rest.iter().all(|byte| self.next() == Some(*byte)).then_some(means)
    }

    fn digits(&mut self) -> Option<&[u8]> {
        let from = self.at;
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > from).then_some(&self.bytes[from..self.at])
    }

    /// Without its fraction and exponent (ValueBaseStructParserStateImpl.cc).
    fn number(&mut self) -> Option<i64> {
        let whole = std::str::from_utf8(self.digits()?).ok()?.parse().ok()?;
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Some(whole)
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            match self.next()? {
                b'"' => return Some(out),
                b'\\' => match self.next()? {
                    b'u' => {
                        let mut point = self.hex()?;
                        if (0xd800..0xdc00).contains(&point) {
                            (self.next()? == b'\\' && self.next()? == b'u').then_some(())?;
                            let low = self.hex().filter(|low| (0xdc00..0xe000).contains(low))?;
                            point = 0x10000 + ((point & 0x3ff) << 10) + (low & 0x3ff);
                        }
                        let lone = char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER);
                        out.extend(lone.to_string().bytes());
                    }
                    b'b' => out.push(8),
                    b'f' => out.push(12),
                    b'n' => out.push(b'\n'),
                    b'r' => out.push(b'\r'),
                    b't' => out.push(b'\t'),
                    other => out.push(other),
                },
                other => out.push(other),
            }
        }
    }

    fn hex(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |sum, _| Some(sum * 16 + char::from(self.next()?).to_digit(16)?))
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let mut items = Vec::new();
        if self.after_space()? == b']' {
            return Some(Value::List(items));
        }
        self.at -= 1;
        loop {
            items.push(self.value(depth + 1)?);
            match self.after_space()? {
                b',' => {}
                b']' => return Some(Value::List(items)),
                _ => return None,
            }
        }
    }

    /// A comma before the end is fine by it.
    fn dict(&mut self, depth: usize) -> Option<Value> {
        let mut members = Vec::new();
        loop {
            match self.after_space()? {
                b'}' => return Some(Value::Dict(members)),
                b'"' => {}
                _ => return None,
            }
            let key = self.text()?;
            (self.after_space()? == b':').then_some(())?;
            members.push((key, self.value(depth + 1)?));
            match self.after_space()? {
                b',' => {}
                b'}' => return Some(Value::Dict(members)),
                _ => return None,
            }
        }
    }
}
