//! Characters that are taken for others or cannot be seen, and characters that a terminal obeys: which they are, and
//! how a text is shown in which they stand.
//!
//! Editors, chat programs and web pages put them into what is copied from there. The names and numbers are those of the
//! Unicode Character Database; the letters are those of its confusables (UTS #39) that a keyboard has.

/// What a reader takes a character for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looks {
    /// For this other character.
    Like(char),
    /// For a space, which it is not.
    Blank,
    /// For nothing at all.
    Unseen,
}

/// A character that is easily mistaken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glyph {
    /// The character.
    pub c: char,
    /// What it is called.
    pub name: &'static str,
    /// What a reader takes it for.
    pub looks: Looks,
}

/// Unseen characters, as first and last of a range.
const UNSEEN: [(char, char, &str); 22] = [
    ('\u{ad}', '\u{ad}', "soft hyphen"),
    ('\u{34f}', '\u{34f}', "combining grapheme joiner"),
    ('\u{61c}', '\u{61c}', "Arabic letter mark"),
    ('\u{115f}', '\u{1160}', "Hangul filler"),
    ('\u{17b4}', '\u{17b5}', "Khmer inherent vowel"),
    ('\u{180b}', '\u{180f}', "Mongolian separator"),
    ('\u{200b}', '\u{200b}', "zero width space"),
    ('\u{200c}', '\u{200c}', "zero width non-joiner"),
    ('\u{200d}', '\u{200d}', "zero width joiner"),
    ('\u{200e}', '\u{200e}', "left-to-right mark"),
    ('\u{200f}', '\u{200f}', "right-to-left mark"),
    ('\u{202a}', '\u{202e}', "bidirectional override"),
    ('\u{2060}', '\u{2060}', "word joiner"),
    ('\u{2061}', '\u{2064}', "invisible operator"),
    ('\u{2066}', '\u{2069}', "bidirectional isolate"),
    ('\u{206a}', '\u{206f}', "format character"),
    ('\u{3164}', '\u{3164}', "Hangul filler"),
    ('\u{fe00}', '\u{fe0f}', "variation selector"),
    ('\u{feff}', '\u{feff}', "byte order mark"),
    ('\u{ffa0}', '\u{ffa0}', "Hangul filler"),
    ('\u{fff9}', '\u{fffb}', "interlinear annotation"),
    ('\u{e0000}', '\u{e01ef}', "tag"),
];

/// What looks like a space and separates no words.
const BLANKS: [(char, char, &str); 9] = [
    ('\u{a0}', '\u{a0}', "no-break space"),
    ('\u{1680}', '\u{1680}', "ogham space mark"),
    ('\u{2000}', '\u{200a}', "typographic space"),
    ('\u{2028}', '\u{2028}', "line separator"),
    ('\u{2029}', '\u{2029}', "paragraph separator"),
    ('\u{202f}', '\u{202f}', "narrow no-break space"),
    ('\u{205f}', '\u{205f}', "mathematical space"),
    ('\u{2800}', '\u{2800}', "braille blank"),
    ('\u{3000}', '\u{3000}', "ideographic space"),
];

/// Punctuation, by what it is taken for.
const SIGNS: [(char, &str, &str); 15] = [
    ('-', "\u{2010}\u{2011}\u{2012}\u{2043}\u{2d7}\u{fe63}", "hyphen"),
    ('-', "\u{2013}", "en dash"),
    ('-', "\u{2014}\u{2015}\u{fe58}", "em dash"),
    ('-', "\u{2212}", "minus sign"),
    ('"', "\u{201c}\u{201d}\u{201e}\u{201f}\u{2033}\u{ab}\u{bb}", "typographic quotation mark"),
    ('\'', "\u{2018}\u{2019}\u{201b}\u{2032}\u{2bc}\u{b4}", "typographic apostrophe"),
    (',', "\u{201a}\u{60c}\u{3001}", "comma of another script"),
    ('*', "\u{2217}\u{204e}\u{66d}", "asterisk operator"),
    ('/', "\u{2044}\u{2215}", "fraction slash"),
    ('\\', "\u{2216}", "set minus"),
    (':', "\u{2236}\u{a789}", "ratio"),
    (';', "\u{37e}\u{61b}", "question mark or semicolon of another script"),
    ('~', "\u{223c}\u{2dc}", "tilde operator"),
    ('|', "\u{2223}\u{1c0}", "vertical line of another script"),
    ('.', "\u{2024}", "one dot leader"),
];

/// Letters, each over the one that it is taken for.
const LETTERS: [(&str, &str, &str); 3] = [
    ("авеікмнорстухѕјһԁԛԝьАВЕІКМНОРСТУХЅЈӏӀ", "abeikmhopctyxsjhdqwbABEIKMHOPCTYXSJlI", "Cyrillic letter"),
    ("αινορυκΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "aivopukABEZHIKMNOPTYX", "Greek letter"),
    ("ıɑɡſK", "iagsK", "letter of another alphabet"),
];

/// What a character is, if it is one that is easily mistaken.
pub fn glyph(c: char) -> Option<Glyph> {
    if c.is_ascii() {
        return None;
    }
    let within = |ranges: &[(char, char, &'static str)]| {
        ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&c)).map(|(_, _, name)| *name)
    };
    if let Some(name) = within(&UNSEEN) {
        return Some(Glyph { c, name, looks: Looks::Unseen });
    }
    if let Some(name) = within(&BLANKS) {
        return Some(Glyph { c, name, looks: Looks::Blank });
    }
    // The full-width forms stand in the order of ASCII.
    if is_full_width(c) {
        let like = char::from_u32(u32::from(c) - 0xfee0)?;
        return Some(Glyph { c, name: "full-width character", looks: Looks::Like(like) });
    }
    if let Some((like, _, name)) = SIGNS.iter().find(|(_, signs, _)| signs.contains(c)) {
        return Some(Glyph { c, name, looks: Looks::Like(*like) });
    }
    LETTERS.iter().find_map(|(letters, like, name)| {
        let (_, like) = letters.chars().zip(like.chars()).find(|(letter, _)| *letter == c)?;
        Some(Glyph { c, name, looks: Looks::Like(like) })
    })
}

impl Glyph {
    /// `U+00A0 (no-break space)`.
    pub fn code(&self) -> String {
        format!("U+{:04X} ({})", u32::from(self.c), self.name)
    }

    /// What is wrong with it where it is not meant, and what would be right: a sentence that begins with [`Self::code`].
    pub fn said(&self, place: &str) -> String {
        let code = self.code();
        match self.looks {
            Looks::Like(like) => format!("{code}{place} only looks like `{like}` (write `{like}`)"),
            Looks::Blank => format!("{code}{place} only looks like a space (write a space)"),
            Looks::Unseen => format!("{code}{place} cannot be seen (delete it)"),
        }
    }

    /// Whether it is a letter or a digit, of which a text in another script rightly has many.
    pub fn is_letter(&self) -> bool {
        matches!(self.looks, Looks::Like(like) if like.is_ascii_alphanumeric())
    }
}

/// What is easily mistaken in a text that may be in any language, with its byte offset: a letter counts where the word
/// around it has ASCII letters and no others.
pub fn mistaken(text: &str) -> impl Iterator<Item = (usize, Glyph)> {
    let (text, all) = if text.is_ascii() { ("", "") } else { (text, text) };
    let odd = move |at: usize, glyph: &Glyph| match glyph.looks {
        // Joiners and selectors are part of a symbol or a word of another script.
        Looks::Unseen if matches!(glyph.c, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}') => {
            all[..at].chars().next_back().is_none_or(|before| before.is_ascii())
        }
        Looks::Like(_) if is_full_width(glyph.c) => around(all, at).chars().all(looks_ascii),
        Looks::Like(_) if glyph.is_letter() => is_mixed(around(all, at)),
        _ => true,
    };
    text.char_indices()
        .filter_map(|(at, c)| glyph(c).map(|glyph| (at, glyph)))
        .filter(move |(at, glyph)| odd(*at, glyph))
}

/// The letters and digits around a place.
fn around(text: &str, at: usize) -> &str {
    let other = |c: char| !c.is_alphanumeric();
    let from = text[..at]
        .rfind(other)
        .map_or(0, |other| other + text[other..].chars().next().map_or(1, char::len_utf8));
    let to = text[at..].find(other).map_or(text.len(), |length| at + length);
    &text[from..to]
}

fn looks_ascii(c: char) -> bool {
    c.is_ascii() || glyph(c).is_some()
}

fn is_full_width(c: char) -> bool {
    matches!(c, '\u{ff01}'..='\u{ff5e}')
}

fn is_mixed(word: &str) -> bool {
    word.contains(|c: char| c.is_ascii_alphanumeric()) && word.chars().all(looks_ascii)
}

/// A text as a terminal may show it: what the terminal would obey, and what would reorder or hide the rest of the line, is
/// shown by its number. Tabs stay.
pub fn harmless(text: &str) -> String {
    escaped(text, |c| is_obeyed(c) && c != '\t')
}

/// A text as a message quotes it: as [`harmless`], and nothing in it is unseen.
pub fn visible(text: &str) -> String {
    let unseen = |c| matches!(glyph(c), Some(Glyph { looks: Looks::Unseen | Looks::Blank, .. }));
    escaped(text, |c| is_obeyed(c) || unseen(c))
}

/// Whether a character is shown by its number wherever a terminal is written to: control characters, line separators, and
/// those that change the direction of the text or hide in it.
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn escaped(text: &str, wants: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if wants(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_mistaken_character_is_known() {
        let check = |c: char, looks: Looks| {
            assert_eq!(glyph(c).map(|glyph| glyph.looks), Some(looks), "U+{:04X}", u32::from(c));
        };
        "\u{ad}\u{200b}\u{200e}\u{202e}\u{2060}\u{2066}\u{feff}\u{e0041}"
            .chars()
            .for_each(|c| check(c, Looks::Unseen));
        "\u{a0}\u{2009}\u{2028}\u{202f}\u{3000}".chars().for_each(|c| check(c, Looks::Blank));
        "‐‑‒–—―−".chars().for_each(|c| check(c, Looks::Like('-')));
        "“”„«»".chars().for_each(|c| check(c, Looks::Like('"')));
        "‘’′´".chars().for_each(|c| check(c, Looks::Like('\'')));
        for (c, like) in
            [('０', '0'), ('＝', '='), ('［', '['), ('с', 'c'), ('ο', 'o'), ('∗', '*'), ('⁄', '/')]
        {
            check(c, Looks::Like(like));
        }
        "az09-é漢ößж€".chars().for_each(|c| assert_eq!(glyph(c), None, "{c}"));
        for (letters, like, name) in LETTERS {
            assert_eq!(letters.chars().count(), like.chars().count(), "{name}");
        }
    }

    #[test]
    fn a_text_in_another_script_holds_nothing_that_is_mistaken() {
        let check = |text: &str, expected: &[char]| {
            let found: Vec<char> = mistaken(text).map(|(_, glyph)| glyph.c).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("бюро резервная-копия USB-кабель", &[]);
        check("größe 漢字", &[]);
        check("\u{1f468}\u{200d}\u{1f469} \u{2764}\u{fe0f}", &[]);
        check("/opt/сlean", &['с']);
        check("cluster\u{200d}", &['\u{200d}']);
        check("1–5 \u{a0}x\u{200b}", &['–', '\u{a0}', '\u{200b}']);
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_by_its_number() {
        assert_eq!(harmless("a\x1b[31m\nb\t\u{7f}\u{9b}2J"), "a\\u{1b}[31m\\nb\t\\u{7f}\\u{9b}2J");
        assert_eq!(harmless("\u{202e}txt.exe\u{2066}"), "\\u{202e}txt.exe\\u{2066}");
        assert_eq!(
            harmless("größe – „x“\u{a0}\u{1f468}\u{200d}\u{1f469}"),
            "größe – „x“\u{a0}\u{1f468}\u{200d}\u{1f469}"
        );
        assert_eq!(visible("a\tb\u{a0}c\u{200b}é"), "a\\tb\\u{a0}c\\u{200b}é");
    }
}
