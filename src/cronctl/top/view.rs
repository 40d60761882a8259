//! Draws the picture into the cells of a terminal, whatever its size. Pure.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::text::Span;

use super::picture::{Column, Opened, Picture, Table, Text, Tone};

/// The least room for the list of runs, with its two headings, before other parts give way.
const RUNS: u16 = 5;

/// Where each part of the view lies: rows from the top.
struct Cursor<'a> {
    cells: &'a mut Buffer,
    area: Rect,
    y: u16,
    has_colours: bool,
}

/// Draws a picture. Without colours, what deserves a look is bold.
pub fn draw(picture: &Picture, area: Rect, has_colours: bool, cells: &mut Buffer) {
    let area = area.intersection(cells.area);
    if area.is_empty() {
        return;
    }
    // The last line says what the keys do, where there is more than one.
    let help = u16::from(area.height > 1);
    let body = Rect { height: area.height - help, ..area };
    let mut cursor = Cursor { cells, area: body, y: body.y, has_colours };
    cursor.line(&picture.title, Style::new().add_modifier(Modifier::BOLD));
    match &picture.opened {
        Some(opened) => {
            // That Kafka is away counts here, too.
            picture
                .notes
                .iter()
                .take(1)
                .filter(|note| note.tone == Tone::Bad)
                .for_each(|note| cursor.note(note));
            cursor.opened(opened);
        }
        None => cursor.tables(picture),
    }
    if help == 1 {
        let mut cursor = Cursor { cells, area, y: area.bottom() - 1, has_colours };
        cursor.line(&picture.help, Style::new().add_modifier(Modifier::REVERSED));
    }
}

impl Cursor<'_> {
    fn left(&self) -> u16 {
        self.area.bottom().saturating_sub(self.y)
    }

    /// A line over the whole width; none where there is no room.
    fn line(&mut self, text: &str, style: Style) {
        if self.left() > 0 {
            let width = usize::from(self.area.width);
            self.cells.set_stringn(self.area.x, self.y, text, width, style);
            self.cells.set_style(Rect { y: self.y, height: 1, ..self.area }, style);
            self.y += 1;
        }
    }

    fn note(&mut self, note: &Text) {
        let style = style(note.tone, self.has_colours);
        for line in wrapped(&note.text, self.area.width).into_iter().take(2) {
            self.line(&line, style);
        }
    }

    fn tables(&mut self, picture: &Picture) {
        picture.notes.iter().take(3).for_each(|note| self.note(note));
        let clusters = picture.clusters.rows.len();
        let most = self.left().saturating_sub(RUNS);
        self.table(&picture.clusters, clusters, most.max(2), None);
        // Consumers get what is left beside ten lines of runs, and none in a small terminal.
        let most = self.left().saturating_sub(RUNS * 2);
        if most > 2 {
            self.y += 1;
            self.table(&picture.consumers, picture.consumers.rows.len(), most - 1, None);
        }
        if self.left() > RUNS {
            self.y += 1;
        }
        self.line(&picture.listing.text, style(picture.listing.tone, self.has_colours));
        self.table(&picture.runs, picture.runs.rows.len(), self.left(), picture.selected);
    }

    /// A table in so many lines at most, with the selected row among them. If there are more rows, the last line says so.
    fn table(&mut self, table: &Table, count: usize, most: u16, selected: Option<usize>) {
        let most = usize::from(most.min(self.left()));
        if most == 0 {
            return;
        }
        let room = most - 1;
        let is_cut = count > room && selected.is_none() && room > 1;
        let shown = if is_cut { room - 1 } else { room };
        let first = selected.map_or(0, |selected| (selected + 1).saturating_sub(shown));
        let rows: Vec<(usize, &Vec<Text>)> = table.rows.iter().enumerate().skip(first).take(shown).collect();
        let columns = fitting(table, &rows, self.area.width);
        let heading = Style::new().add_modifier(Modifier::UNDERLINED);
        let headings: Vec<(String, Style)> =
            columns.iter().map(|(number, _)| (table.columns[*number].heading.to_owned(), heading)).collect();
        self.cells_of(&headings, &columns, table, Style::new());
        for (number, row) in rows {
            let is_selected = selected == Some(number);
            let line = if is_selected { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
            let cell = |(number, _): &(usize, u16)| {
                row.get(*number).map(|cell| (cell.text.clone(), style(cell.tone, self.has_colours)))
            };
            let cells: Vec<(String, Style)> = columns.iter().filter_map(cell).collect();
            self.cells_of(&cells, &columns, table, line);
        }
        if is_cut {
            self.line(&format!("and {} more", count - shown), style(Tone::Faint, self.has_colours));
        }
    }

    fn cells_of(&mut self, cells: &[(String, Style)], columns: &[(usize, u16)], table: &Table, line: Style) {
        if self.left() == 0 {
            return;
        }
        let mut x = self.area.x;
        for ((text, style), (number, width)) in cells.iter().zip(columns) {
            let wide = u16::try_from(Span::raw(text.as_str()).width()).unwrap_or(u16::MAX);
            let indent = if table.columns[*number].is_right { width.saturating_sub(wide) } else { 0 };
            let room = self.area.right().saturating_sub(x).min(*width).saturating_sub(indent);
            if room > 0 {
                self.cells.set_stringn(x + indent, self.y, text, usize::from(room), *style);
            }
            if wide > *width && table.columns[*number].cut_to.is_some() && room == *width {
                self.cells.set_stringn(x + room - 1, self.y, "…", 1, *style);
            }
            x = x.saturating_add(*width).saturating_add(GAP);
        }
        self.cells.set_style(Rect { y: self.y, height: 1, ..self.area }, line);
        self.y += 1;
    }

    fn opened(&mut self, opened: &Opened) {
        self.line(&opened.title, Style::new().add_modifier(Modifier::UNDERLINED));
        for line in opened.lines.iter().skip(opened.above) {
            let style = style(line.tone, self.has_colours);
            for part in wrapped(&line.text, self.area.width) {
                if self.left() == 0 {
                    return;
                }
                self.line(&part, style);
            }
        }
    }
}

/// Cells between two columns.
const GAP: u16 = 2;

/// What the last column needs at least.
const LEAST: u16 = 14;

/// What is left of a column that is cut, where nothing else can give way.
const CUT: u16 = 8;

/// The columns that fit, with their widths. The last of them gets what is left. A column with a long name in it is cut before
/// others go.
fn fitting(table: &Table, rows: &[(usize, &Vec<Text>)], width: u16) -> Vec<(usize, u16)> {
    let wide = |number: usize, column: &Column| {
        let cells = rows.iter().filter_map(|(_, row)| row.get(number));
        let cells = cells.map(|cell| Span::raw(cell.text.as_str()).width());
        let widest = cells.chain([column.heading.len()]).max().unwrap_or(0);
        u16::try_from(widest).unwrap_or(u16::MAX)
    };
    let mut columns: Vec<(usize, u16)> =
        table.columns.iter().enumerate().map(|(number, column)| (number, wide(number, column))).collect();
    loop {
        let last = columns.len().saturating_sub(1);
        let spare = columns.iter().map(|(number, _)| table.columns[*number].spare).max().unwrap_or(0);
        // The last column may be cut.
        let needs = |(at, (_, wide)): (usize, &(usize, u16))| {
            u32::from(if at == last { (*wide).min(LEAST) } else { wide.saturating_add(GAP) })
        };
        let needed: u32 = columns.iter().enumerate().map(needs).sum();
        let excess = u16::try_from(needed.saturating_sub(u32::from(width))).unwrap_or(u16::MAX);
        let cut = columns.iter().take(last).enumerate().find_map(|(at, (number, wide))| {
            let least = table.columns[*number].cut_to?;
            Some((at, least, wide.saturating_sub(if spare == 0 { CUT } else { least })))
        });
        if let Some((at, least, room)) = cut.filter(|(_, _, room)| *room >= excess || spare == 0) {
            // The last column is shown as a whole where that leaves enough of this one.
            let wished = columns.last().map_or(0, |(_, wide)| u32::from(wide.saturating_sub(LEAST)));
            let wished = (needed + wished).saturating_sub(u32::from(width).max(needed));
            let cut = columns[at].1 - excess.min(room);
            let spared = u16::try_from(wished).unwrap_or(u16::MAX).min(cut.saturating_sub(least));
            columns[at].1 = cut - spared;
            return columns;
        }
        if excess == 0 || spare == 0 {
            return columns;
        }
        columns.retain(|(number, _)| table.columns[*number].spare < spare);
    }
}

/// A text in lines that are no wider than so many cells, broken at blanks where there are some.
fn wrapped(text: &str, width: u16) -> Vec<String> {
    let width = usize::from(width.max(1));
    let (mut lines, mut line, mut used) = (Vec::new(), String::new(), 0);
    for c in text.chars() {
        let wide = Span::raw(c.to_string()).width();
        if used + wide > width && !line.is_empty() {
            let rest = match line.rfind(' ').filter(|blank| *blank > width / 2) {
                Some(blank) if c != ' ' => line.split_off(blank + 1),
                _ => String::new(),
            };
            used = Span::raw(rest.as_str()).width();
            lines.push(std::mem::replace(&mut line, rest));
            if c == ' ' {
                continue;
            }
        }
        line.push(c);
        used += wide;
    }
    lines.push(line);
    lines
}

fn style(tone: Tone, has_colours: bool) -> Style {
    match (tone, has_colours) {
        (Tone::Plain, _) | (Tone::Good | Tone::Faint, false) => Style::new(),
        (Tone::Good, true) => Style::new().fg(Color::Green),
        (Tone::Faint, true) => Style::new().fg(Color::DarkGray),
        (Tone::Odd, true) => Style::new().fg(Color::Yellow),
        (Tone::Bad, true) => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        (Tone::Odd | Tone::Bad, false) => Style::new().add_modifier(Modifier::BOLD),
    }
}

#[cfg(test)]
mod tests;
