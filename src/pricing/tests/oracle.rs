//! Costs compared with schoolbook decimal arithmetic: digits in a list, no integer wider than a byte.

use super::*;

/// A whole number, least significant digit first.
#[derive(Clone, Debug)]
struct Digits(Vec<u8>);

impl Digits {
    fn of(text: &str) -> Digits {
        Digits(text.bytes().rev().map(|byte| byte - b'0').collect())
    }

    fn plus(&self, other: &Digits) -> Digits {
        let (mut sum, mut carry) = (Vec::new(), 0);
        for at in 0..self.0.len().max(other.0.len()) + 1 {
            let digit = self.0.get(at).unwrap_or(&0) + other.0.get(at).unwrap_or(&0) + carry;
            sum.push(digit % 10);
            carry = digit / 10;
        }
        Digits(sum)
    }

    fn times(&self, other: &Digits) -> Digits {
        let mut product = Digits(Vec::new());
        for (zeros, &digit) in other.0.iter().enumerate() {
            let mut row = vec![0; zeros];
            let mut carry = 0;
            for &own in &self.0 {
                row.push((own * digit + carry) % 10);
                carry = (own * digit + carry) / 10;
            }
            row.push(carry);
            product = product.plus(&Digits(row));
        }
        product
    }

    /// The number without its last `n` digits, rounded half up.
    fn rounded(&self, n: usize) -> String {
        let up = u8::from(self.0.get(n - 1).is_some_and(|&digit| digit >= 5));
        let kept = Digits(self.0.get(n..).unwrap_or_default().to_vec()).plus(&Digits(vec![up]));
        let text: String = kept.0.iter().rev().map(|digit| char::from(digit + b'0')).collect();
        let text = text.trim_start_matches('0');
        if text.is_empty() { "0".into() } else { text.into() }
    }
}

/// A random rate: its JSON text, and its value in units of 10⁻¹² dollars.
fn rate(seeded: &mut Seeded) -> (String, String) {
    let digits = (1 + seeded.next() % 9_999).to_string();
    let zeros = seeded.below(6);
    let text = match seeded.below(3) {
        0 => format!("{digits}e-{}", 12 - zeros),
        1 => format!("{}.{}e-{}", &digits[..1], &format!("{digits}0")[1..], 12 - zeros - (digits.len() - 1)),
        _ => format!("0.{:0>12}", format!("{digits}{}", "0".repeat(zeros))),
    };
    (text, format!("{digits}{}", "0".repeat(zeros)))
}

#[test]
fn costs_equal_decimal_arithmetic_on_random_usages() {
    let mut seeded = Seeded::new(42);
    for round in 0..20_000 {
        let rates = [(); 5].map(|()| rate(&mut seeded));
        let [read_priced, write_priced, reasoning_priced] = [(); 3].map(|()| seeded.one_in(2));
        let mut json =
            format!(r#"{{"m": {{"input_cost_per_token": {}, "output_cost_per_token": {}"#, rates[0].0, rates[1].0);
        if read_priced {
            json += &format!(r#", "cache_read_input_token_cost": {}"#, rates[2].0);
        }
        if write_priced {
            json += &format!(r#", "cache_creation_input_token_cost": {}"#, rates[4].0);
        }
        if reasoning_priced {
            json += &format!(r#", "output_cost_per_reasoning_token": {}"#, rates[3].0);
        }
        let prices = Prices::parse(&(json + "}}")).expect("sound");
        let bits = seeded.below(34);
        let mut tokens = |most: u64| seeded.next() % (most + 1);
        let (input, output) = (tokens(1 << bits), tokens(1 << bits));
        let usage = usage(input, tokens(input), output, tokens(output));
        let usage = Usage { cache_write: tokens(input - usage.cache_read), ..usage };
        let of = |priced: bool, own: usize, other: usize| &rates[if priced { own } else { other }].1;
        let parts = [
            (usage.input - usage.cache_read - usage.cache_write, &rates[0].1),
            (usage.cache_read, of(read_priced, 2, 0)),
            (usage.cache_write, of(write_priced, 4, 0)),
            (usage.output - usage.reasoning, &rates[1].1),
            (usage.reasoning, of(reasoning_priced, 3, 1)),
        ];
        let pico = parts.iter().fold(Digits(vec![0]), |sum, (tokens, rate)| {
            sum.plus(&Digits::of(&tokens.to_string()).times(&Digits::of(rate)))
        });
        let cost = prices.price("m").expect("listed").cost(&usage);
        assert_eq!(cost.0.to_string(), pico.rounded(6), "round {round}: {usage:?} {rates:?}");
    }
}
