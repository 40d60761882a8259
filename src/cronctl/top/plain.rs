//! The picture as plain lines, for a pipe or a file. Pure.

use super::picture::{Picture, Table, Text};

/// How many runs are shown at most: the newest, behind those that are not over.
pub const RUNS: usize = 40;

/// The lines of a snapshot.
pub fn lines(picture: &Picture) -> Vec<String> {
    let mut lines = vec![picture.title.clone()];
    lines.extend(picture.notes.iter().map(|note| note.text.clone()));
    for table in [&picture.clusters, &picture.consumers] {
        lines.push(String::new());
        lines.extend(rows(table, usize::MAX));
    }
    lines.extend([String::new(), picture.listing.text.clone()]);
    lines.extend(rows(&picture.runs, RUNS));
    if let Some(more) = picture.runs.rows.len().checked_sub(RUNS).filter(|more| *more > 0) {
        lines.push(format!("and {more} more"));
    }
    lines
}

fn rows(table: &Table, most: usize) -> Vec<String> {
    let shown = &table.rows[..table.rows.len().min(most)];
    let width = |number: usize, heading: &str| {
        let cells = shown.iter().filter_map(|row| row.get(number)).map(|cell| cell.text.chars().count());
        cells.chain([heading.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> =
        table.columns.iter().enumerate().map(|(number, column)| width(number, column.heading)).collect();
    let line = |cells: Vec<&str>| {
        let columns = table.columns.iter().zip(&widths);
        let cells = cells.into_iter().zip(columns).map(|(cell, (column, width))| {
            if column.is_right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let heading = line(table.columns.iter().map(|column| column.heading).collect());
    let of = |row: &Vec<Text>| line(row.iter().map(|cell| cell.text.as_str()).collect());
    [heading].into_iter().chain(shown.iter().map(of)).collect()
}
