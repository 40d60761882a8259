//! `docs/PROTOCOL.md` as data: its tables of fields, so that it cannot say what is not so.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

/// A row of a table of fields.
#[derive(Debug)]
pub struct Field {
    pub name: String,
    pub optional: bool,
    /// The cell as it stands: `integer`, `[place](#place)`, `list of [running](#running)`.
    kind: String,
    meaning: String,
}

impl Field {
    /// The words in backquotes that the meaning lists.
    pub fn words(&self) -> BTreeSet<String> {
        self.meaning.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// The section whose table describes the object (or the objects of the list).
    fn section(&self) -> Option<&str> {
        let (_, link) = self.kind.split_once("](#")?;
        link.strip_suffix(')')
    }

    pub fn is_integer(&self) -> bool {
        self.kind == "integer"
    }

    pub fn is_instant(&self) -> bool {
        self.kind == "instant"
    }

    /// The least and the most that a number may be, where the meaning says it (`1 to 1000`).
    pub fn range(&self) -> Option<(i128, i128)> {
        let words: Vec<&str> = self.meaning.split([' ', ',', ';']).collect();
        let ends = words.windows(3).filter(|words| words[1] == "to");
        let mut ends = ends.filter_map(|words| Some((words[0].parse().ok()?, words[2].parse().ok()?)));
        ends.next().filter(|_| self.is_integer())
    }

    /// Whether a value is of the type that the page gives.
    pub fn check_value(&self, value: &Value) -> Result<(), String> {
        let text = value.as_str();
        let fits = match self.kind.as_str() {
            "integer" => value.is_u64() || value.is_i64(),
            "text" => text.is_some(),
            "instant" => text.is_some_and(|text| {
                let instant: Option<DateTime<Utc>> = text.parse().ok();
                instant.is_some_and(|instant| instant.to_rfc3339_opts(SecondsFormat::AutoSi, true) == text)
            }),
            "UUID" => text.is_some_and(|text| Uuid::parse_str(text).is_ok_and(|id| id.to_string() == text)),
            "base64" => text.is_some_and(|text| text.len() % 4 == 0),
            "object of text" => value.as_object().is_some_and(|o| o.values().all(Value::is_string)),
            link if link.starts_with("list of ") => value.is_array() && self.section().is_some(),
            _ => value.is_object() && self.section().is_some(),
        };
        if fits { Ok(()) } else { Err(format!("is not {}", self.kind)) }
    }
}

/// The page.
pub struct Page {
    text: String,
    sections: BTreeMap<String, Vec<Field>>,
}

impl Page {
    pub fn read() -> Self {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PROTOCOL.md")).unwrap();
        let mut sections: BTreeMap<String, Vec<Field>> = BTreeMap::new();
        let mut section = String::new();
        for line in text.lines() {
            if let Some(heading) = line.strip_prefix("### ") {
                heading.clone_into(&mut section);
            } else if line.starts_with("## ") {
                section.clear();
            }
            let cells = cells(line);
            if section.is_empty() || cells.len() != 4 || !cells[0].starts_with('`') {
                continue;
            }
            let optional = match cells[2].as_str() {
                "always" => false,
                "optional" => true,
                other => panic!("{line}: {other} is neither always nor optional"),
            };
            let [name, kind, _, meaning] = <[String; 4]>::try_from(cells).unwrap();
            let field = Field { name: name.trim_matches('`').to_owned(), optional, kind, meaning };
            sections.entry(section.clone()).or_default().push(field);
        }
        Self { text, sections }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first line that holds some text.
    pub fn line_with(&self, text: &str) -> &str {
        self.text.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no line has `{text}`"))
    }

    /// The rows of the table whose first heading is this.
    pub fn table(&self, heading: &str) -> impl Iterator<Item = Vec<String>> {
        let start = format!("| {heading} |");
        let rows = self.text.lines().skip_while(move |line| !line.starts_with(&start)).skip(2);
        rows.take_while(|line| line.starts_with('|')).map(cells)
    }

    /// All rows, with their sections.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.sections.iter().flat_map(|(section, rows)| rows.iter().map(|row| (section.as_str(), row)))
    }

    pub fn fields(&self, section: &str) -> &[Field] {
        self.sections.get(section).unwrap_or_else(|| panic!("the page has no table for {section}"))
    }

    pub fn field(&self, section: &str, name: &str) -> &Field {
        let found = self.fields(section).iter().find(|field| field.name == name);
        found.unwrap_or_else(|| panic!("the page says nothing of `{name}` in {section}"))
    }

    /// A message's objects: where each stands (a JSON pointer), the section that describes it, and itself.
    pub fn objects_of(&self, message: &Value) -> Vec<(String, String, Map<String, Value>)> {
        let word = |field: &str| message[field].as_str().map(str::to_owned);
        let section = word("event").or_else(|| word("record")).or_else(|| word("order"));
        let section = section.unwrap_or_else(|| "attempt".to_owned());
        let mut found = Vec::new();
        self.collect(message, String::new(), &section, &mut found);
        found
    }

    fn collect(
        &self,
        value: &Value,
        at: String,
        section: &str,
        found: &mut Vec<(String, String, Map<String, Value>)>,
    ) {
        if let Value::Array(list) = value {
            let places = list.iter().enumerate();
            return places.for_each(|(i, value)| self.collect(value, format!("{at}/{i}"), section, found));
        }
        let object = value.as_object().unwrap_or_else(|| panic!("{at} is no object"));
        for (name, child) in object {
            if let Some(section) = self.field(section, name).section() {
                self.collect(child, format!("{at}/{name}"), section, found);
            }
        }
        found.push((at, section.to_owned(), object.clone()));
    }
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.strip_prefix('|').and_then(|rest| rest.strip_suffix('|'));
    inner.map(|inner| inner.split('|').map(|cell| cell.trim().to_owned()).collect()).unwrap_or_default()
}
