//! The writer's SQL, built from lists of columns. Pure; each statement is built once and then stays prepared.

/// Inserts a row unless its key or another unique column is taken.
pub(super) fn insert_or_ignore(table: &str, columns: &[&str]) -> String {
    let values = vec!["?"; columns.len()].join(", ");
    format!("INSERT INTO {table} ({}) VALUES ({values}) ON CONFLICT DO NOTHING", columns.join(", "))
}

/// Inserts a row whose key is `keys`. Where that key is taken, adds the `counts` to its row and replaces the `replaced` columns.
pub(super) fn upsert(table: &str, keys: &[&str], counts: &[&str], replaced: &[&str]) -> String {
    let columns = [keys, counts, replaced].concat();
    let values: Vec<String> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
    let sums = counts.iter().map(|column| saturating_sum(column, &format!("excluded.{column}")));
    let set: Vec<String> = sums.chain(replaced.iter().map(|column| format!("{column} = excluded.{column}"))).collect();
    format!(
        "INSERT INTO {table} ({}) VALUES ({}) ON CONFLICT ({}) DO UPDATE SET {}",
        columns.join(", "),
        values.join(", "),
        keys.join(", "),
        set.join(", ")
    )
}

/// Adds `counts` to the row with the key `keys`. The parameters are the key, then the counts.
pub(super) fn add_to_row(table: &str, keys: &[&str], counts: &[&str]) -> String {
    let key: Vec<String> = keys.iter().zip(1..).map(|(column, n)| format!("{column} = ?{n}")).collect();
    let sums = counts.iter().zip(keys.len() + 1..).map(|(column, n)| saturating_sum(column, &format!("?{n}")));
    format!("UPDATE {table} SET {} WHERE {}", sums.collect::<Vec<_>>().join(", "), key.join(" AND "))
}

/// A sum that stops at the largest integer. SQLite would continue with a float, which a STRICT column refuses, and the whole
/// flush would fail.
fn saturating_sum(column: &str, more: &str) -> String {
    format!("{column} = min({column} + {more}, {})", i64::MAX)
}
