//! The result as a table in Markdown.

use crate::measure::median;

/// One line of the table.
pub struct Row {
    pub name: &'static str,
    pub unit: &'static str,
    /// One value a round; empty where the bare proxy is not measured.
    pub bare: Vec<f64>,
    pub doorward: Vec<f64>,
    pub bar: Bar,
    /// Answers that were not what was asked for: a row with any does not pass.
    pub faults: Vec<String>,
}

#[derive(Clone, Copy)]
pub enum Bar {
    /// Times the bare proxy, measured in the same round.
    Ratio(f64),
    /// The same, and so much more in the row's own unit.
    RatioAnd(f64, f64),
    /// In the row's own unit.
    AtMost(f64),
}

impl Row {
    /// The median over the rounds of Doorward's share of the bare proxy.
    fn ratio(&self) -> Option<f64> {
        self.ratio_without(0.0)
    }

    fn ratio_without(&self, more: f64) -> Option<f64> {
        let ratios: Vec<f64> = self.bare.iter().zip(&self.doorward).map(|(bare, doorward)| (doorward - more) / bare).collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    pub fn passes(&self) -> bool {
        let within = match self.bar {
            Bar::Ratio(bar) => self.ratio().is_some_and(|ratio| ratio <= bar),
            Bar::RatioAnd(bar, more) => self.ratio_without(more).is_some_and(|ratio| ratio <= bar),
            Bar::AtMost(bar) => !self.doorward.is_empty() && median(&self.doorward) <= bar,
        };
        within && self.faults.is_empty()
    }

    fn line(&self) -> String {
        let shown = |values: &[f64]| if values.is_empty() { "-".to_owned() } else { format!("{:.1}", median(values)) };
        let bar = match self.bar {
            Bar::Ratio(bar) => format!("{bar:.2} x"),
            Bar::RatioAnd(bar, more) => format!("{bar:.2} x + {more:.0} {}", self.unit),
            Bar::AtMost(bar) => format!("{bar:.0} {}", self.unit),
        };
        let ratio = self.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let verdict = if self.passes() { "pass" } else { "FAIL" };
        format!("| {} | {} | {} | {} | {ratio} | {bar} | {verdict} |", self.name, self.unit, shown(&self.bare), shown(&self.doorward))
    }
}

/// Prints the table, then whatever went wrong; whether all rows pass.
pub fn print(rows: &[Row]) -> bool {
    println!("\n| workload | unit | bare | Doorward | ratio | bar | |");
    println!("|---|---|---:|---:|---:|---:|---|");
    for row in rows {
        println!("{}", row.line());
    }
    for row in rows {
        for fault in &row.faults {
            println!("\n{}: {fault}", row.name);
        }
    }
    rows.iter().all(Row::passes)
}
