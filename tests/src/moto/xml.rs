//! As much XML as AWS's query protocol has: elements, text, and a namespace at the root.

use std::fmt;

/// An element. Its text is as it was sent, with entities.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// What stands behind the name in its opening tag.
    attributes: String,
    /// What is in it, if it is text.
    pub text: String,
    /// What is in it, if it is elements.
    pub children: Vec<Element>,
}

impl Element {
    /// An element with this text in it.
    pub fn with_text(name: &str, text: &str) -> Self {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        Self { name: name.into(), text, ..Self::default() }
    }

    /// An element with these elements in it.
    pub fn with(name: &str, children: impl IntoIterator<Item = Self>) -> Self {
        Self { name: name.into(), children: children.into_iter().collect(), ..Self::default() }
    }

    /// The root of a document; none if it is not one.
    pub fn parse(document: &str) -> Option<Self> {
        let mut rest = document.trim_start();
        if rest.starts_with("<?") {
            rest = rest.split_once("?>")?.1.trim_start();
        }
        let root = Self::take(&mut rest)?;
        rest.trim().is_empty().then_some(root)
    }

    fn take(rest: &mut &str) -> Option<Self> {
        let (tag, after) = rest.strip_prefix('<')?.split_once('>')?;
        *rest = after;
        let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut element = Self { name: name.into(), attributes: attributes.into(), ..Self::default() };
        if empty {
            return Some(element);
        }
        loop {
            let (text, _) = rest.split_once('<')?;
            element.text.push_str(text.trim());
            *rest = &rest[text.len()..];
            if let Some(end) = rest.strip_prefix("</") {
                let (end, after) = end.split_once('>')?;
                *rest = after;
                return (end == name).then_some(element);
            }
            element.children.push(Self::take(rest)?);
        }
    }

    /// The first element of this name in it.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The first element that this path leads to: names with slashes between.
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('/').try_fold(self, Self::child)
    }

    /// The same, to change it.
    pub fn at_mut(&mut self, path: &str) -> Option<&mut Self> {
        path.split('/').try_fold(self, |element, name| element.children.iter_mut().find(|child| child.name == name))
    }

    /// The text that this path leads to; nothing where there is none.
    pub fn text_at(&self, path: &str) -> &str {
        self.at(path).map_or("", |element| &element.text)
    }

    /// The number that this path leads to.
    ///
    /// # Panics
    /// When there is none.
    pub fn number_at(&self, path: &str) -> u32 {
        self.text_at(path).parse().unwrap_or_else(|_| panic!("no number at {path}: {self}"))
    }

    /// Puts this text into an element in it, which is added if it is not there.
    pub fn set(&mut self, name: &str, text: &str) {
        let new = Self::with_text(name, text);
        match self.children.iter_mut().find(|child| child.name == name) {
            Some(child) => *child = new,
            None => self.children.push(new),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, attributes, text, children } = self;
        let space = if attributes.is_empty() { "" } else { " " };
        write!(f, "<{name}{space}{attributes}>{text}")?;
        children.iter().try_for_each(|child| child.fmt(f))?;
        write!(f, "</{name}>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        let document = r#"<?xml version="1.0"?> <a xmlns="http://a/"><b><c>1 &lt; 2</c></b><d/><b></b></a>"#;
        let mut root = Element::parse(document).unwrap();
        assert_eq!(root.text_at("b/c"), "1 &lt; 2");
        assert_eq!(root.text_at("b/x"), "");
        root.at_mut("b").unwrap().set("c", "<3>");
        root.set("e", "4");
        assert_eq!(root.to_string(), r#"<a xmlns="http://a/"><b><c>&lt;3&gt;</c></b><d></d><b></b><e>4</e></a>"#);
    }

    #[test]
    fn what_is_broken_is_nothing() {
        for broken in ["", "text", "<a>", "<a></b>", "<a><b></a>", "<a></a><b/>"] {
            assert_eq!(Element::parse(broken), None, "{broken}");
        }
    }
}
