//! The numbers on the command lines of all programs.

use std::{fmt::Display, ops::RangeInclusive};

/// A parser of whole numbers in this range, for `clap`. Whatever is wrong with the text, its error names the range.
pub fn whole_number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: TryFrom<i128> + PartialOrd + Display + Clone,
{
    move |text| {
        let number = text.parse::<i128>().ok().and_then(|number| T::try_from(number).ok());
        let accepted = number.filter(|number| range.contains(number));
        accepted.ok_or_else(|| format!("not a whole number from {} to {}", range.start(), range.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_the_range() {
        let parse = whole_number::<u16>(2..=300);
        assert_eq!((parse("2"), parse("300")), (Ok(2), Ok(300)));
        for refused in ["1", "301", "-1", "99999999999999999999999999999999999999999", "2.5", "two", ""] {
            assert_eq!(parse(refused), Err("not a whole number from 2 to 300".to_owned()), "{refused}");
        }
    }
}
