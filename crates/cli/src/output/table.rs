//! A plain table: columns aligned by spaces, no lines, so that `awk` and the eye read it alike.

use std::fmt;

use super::printable;

/// Rows of text under headings. A heading that begins with `>` is of a column set flush right.
#[derive(Debug)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// Widths that an earlier part of the same table has reached, so that its parts stand under each other.
    widths: Vec<usize>,
    headless: bool,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new<const N: usize>(head: [&'static str; N]) -> Self {
        Self { head: head.into(), rows: Vec::new(), widths: vec![0; N], headless: false }
    }

    /// A table that goes on after one whose columns had these widths: without headings, and not narrower.
    pub(crate) fn after(mut self, widths: Option<Vec<usize>>) -> Self {
        if let Some(widths) = widths {
            self.widths = widths;
            self.headless = true;
        }
        self
    }

    /// Adds a row; an empty cell is shown as `-`, so that the columns can be counted.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.head.len(), "a cell for each heading");
        let cell = |text: String| if text.is_empty() { "-".into() } else { printable(&text, false) };
        self.rows.push(cells.map(cell).into());
    }

    /// The width of each column.
    pub(crate) fn widths(&self) -> Vec<usize> {
        let mut widths = self.widths.clone();
        for (column, width) in widths.iter_mut().enumerate() {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            *width = cells.chain([title(self.head[column]).len()]).max().unwrap_or_default().max(*width);
        }
        widths
    }
}

fn title(head: &'static str) -> &'static str {
    head.trim_start_matches('>')
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let titles = self.head.iter().map(|head| title(head).to_owned()).collect();
        for row in (!self.headless).then_some(&titles).into_iter().chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), head) in row.iter().zip(&widths).zip(&self.head) {
                let cell = if head.starts_with('>') { format!("{cell:>width$}") } else { format!("{cell:width$}") };
                line = line + &cell + "  ";
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_a_second_part_stands_under_the_first() {
        let mut first = Table::new([">ID", "QUEUE", "NOTE"]);
        first.row(["7".into(), "größe".into(), String::new()]);
        first.row(["123".into(), "a".into(), "x\u{1b}".into()]);
        assert_eq!(first.to_string(), " ID  QUEUE  NOTE\n  7  größe  -\n123  a      x\\u{1b}\n");

        let mut second = Table::new([">ID", "QUEUE", "NOTE"]).after(Some(first.widths()));
        second.row(["9".into(), "b".into(), "y".into()]);
        assert_eq!(second.to_string(), "  9  b      y\n");
    }
}
