//! Tables without borders: they can be read, and cut with `awk`.

use super::Paint;
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement};

/// Rows under a header.
#[derive(Debug)]
pub(crate) struct Table {
    table: comfy_table::Table,
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    name: String,
    alignment: CellAlignment,
}

/// What a cell says beyond its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Went well.
    Good,
    /// Went wrong.
    Bad,
    /// Under way, or not to be overlooked.
    Busy,
    /// Nothing special.
    Plain,
}

impl Table {
    /// A table with these columns. One whose name starts with `>` is aligned to the right: numbers.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let columns = columns.iter().map(|name| match name.strip_prefix('>') {
            Some(name) => Column { name: name.to_owned(), alignment: CellAlignment::Right },
            None => Column { name: (*name).to_owned(), alignment: CellAlignment::Left },
        });
        Self { table, columns: columns.collect() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Mood)>) {
        let cells = cells.into_iter().map(|(text, mood)| match mood {
            Mood::Good => Cell::new(text).fg(Color::Green),
            Mood::Bad => Cell::new(text).fg(Color::Red),
            Mood::Busy => Cell::new(text).fg(Color::Yellow),
            Mood::Plain => Cell::new(text),
        });
        self.table.add_row(cells.collect::<Vec<_>>());
    }

    /// The table as text; nothing if it has no rows.
    pub(crate) fn render(mut self, paint: Paint) -> Option<String> {
        if self.table.is_empty() {
            return None;
        }
        self.table.set_header(self.columns.iter().map(|column| Cell::new(&column.name).add_attribute(Attribute::Bold)));
        for (shown, column) in self.table.column_iter_mut().zip(&self.columns) {
            shown.set_padding((0, 2));
            shown.set_cell_alignment(column.alignment);
        }
        if paint.is_on() {
            self.table.enforce_styling();
        } else {
            self.table.force_no_tty();
        }
        Some(self.table.trim_fmt())
    }
}
