//! Reading comma-separated files (RFC 4180): quotes, doubled quotes, line breaks inside quotes. Small on purpose.

use super::registry::Row;

/// Rows by the names of the header line, which are lowered and trimmed. The error names the line.
pub fn rows(text: &str) -> Result<Vec<Row>, String> {
    let mut records = records(text.trim_start_matches('\u{feff}'))?.into_iter();
    let Some((_, header)) = records.next() else { return Err("line 1: the file is empty".into()) };
    let header: Vec<String> = header.iter().map(|h| h.trim().to_lowercase().replace(' ', "_")).collect();
    let mut out = vec![];
    for (line, record) in records {
        if record.len() == 1 && record[0].trim().is_empty() {
            continue;
        }
        if record.len() != header.len() {
            return Err(format!("line {line}: {} fields, the header has {}", record.len(), header.len()));
        }
        out.push(header.iter().cloned().zip(record.into_iter().map(|f| f.trim().to_owned())).collect());
    }
    Ok(out)
}

/// The cells of one record.
pub fn record(text: &str) -> Result<Vec<String>, String> {
    let mut all = records(text.trim_start_matches('\u{feff}'))?;
    match (all.pop(), all.is_empty()) {
        (Some((_, record)), true) => Ok(record),
        _ => Err("more than one record".into()),
    }
}

/// Records with the line each starts on.
fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
    let mut out = vec![];
    let (mut record, mut field) = (vec![], String::new());
    let (mut line, mut start, mut quoted) = (1, 1, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        line += usize::from(c == '\n');
        match (quoted, c) {
            (true, '"') if chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            (true, '"') => quoted = false,
            (true, c) => field.push(c),
            (false, '"') if field.is_empty() => quoted = true,
            (false, ',') => record.push(std::mem::take(&mut field)),
            (false, '\r') if chars.peek() == Some(&'\n') => {}
            (false, '\n') => {
                record.push(std::mem::take(&mut field));
                out.push((start, std::mem::take(&mut record)));
                start = line;
            }
            (false, c) => field.push(c),
        }
    }
    if quoted {
        return Err(format!("line {start}: a quote is not closed"));
    }
    if !field.is_empty() || !record.is_empty() {
        record.push(field);
        out.push((start, record));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_commas_and_line_ends_are_read_as_spreadsheets_write_them() {
        let got = rows("\u{feff}ID,Name\r\nX26,\"Leeds, \"\"St James\"\"\"\r\n\r\nX27,\"two\nlines\"").unwrap();
        assert_eq!(got.len(), 2);
        assert_eq!(got[0]["name"], "Leeds, \"St James\"");
        assert_eq!(got[1]["name"], "two\nlines");
    }

    #[test]
    fn mistakes_name_their_line() {
        assert_eq!(rows("a,b\n1,2\n3\n").unwrap_err(), "line 3: 1 fields, the header has 2");
        assert_eq!(rows("a\n\"x").unwrap_err(), "line 2: a quote is not closed");
        assert_eq!(rows("").unwrap_err(), "line 1: the file is empty");
    }
}
