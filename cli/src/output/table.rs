//! Tables without borders: they can be read, and cut with `awk`.

use super::Paint;
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement};

/// Rows under a header.
#[derive(Debug)]
pub(crate) struct Table {
    table: comfy_table::Table,
    header: Vec<Cell>,
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
        let header = columns
            .iter()
            .map(|name| {
                let cell = Cell::new(name.trim_start_matches('>')).add_attribute(Attribute::Bold);
                if name.starts_with('>') { cell.set_alignment(CellAlignment::Right) } else { cell }
            })
            .collect();
        Self { table, header }
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
        let right: Vec<bool> =
            self.header.iter().map(|cell| cell_is_right(cell)).collect();
        self.table.set_header(self.header);
        for (column, right) in self.table.column_iter_mut().zip(right) {
            column.set_padding((0, 2));
            if right {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        if paint.is_on() {
            self.table.enforce_styling();
        } else {
            self.table.force_no_tty();
        }
        Some(self.table.trim_fmt())
    }
}
