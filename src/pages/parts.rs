//! Components of the NHS design system as HTML, with the markup of its package (`tests` compares them). Texts are escaped here.

/// Text in HTML, in or out of an attribute.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Past the header, for who goes by keyboard.
pub fn skip_link() -> &'static str {
    "<a class=\"nhsuk-skip-link\" data-module=\"nhsuk-skip-link\" href=\"#maincontent\">Skip to main content</a>"
}

/// The page's one heading.
pub fn heading(text: &str) -> String {
    format!("<h1 class=\"nhsuk-heading-l\">{}</h1>", escaped(text))
}

pub fn paragraph(text: &str) -> String {
    format!("<p>{}</p>", escaped(text))
}

/// What is good to know.
pub fn inset(text: &str) -> String {
    format!(
        "<div class=\"nhsuk-inset-text\"><span class=\"nhsuk-u-visually-hidden\">Information: </span><p>{}</p></div>",
        escaped(text)
    )
}

/// Sends its form.
pub fn button(words: &str) -> String {
    format!("<button class=\"nhsuk-button\" data-module=\"nhsuk-button\" type=\"submit\">{}</button>", escaped(words))
}

/// The same, for what is not the page's main way on.
pub fn second_button(words: &str) -> String {
    format!(
        "<button class=\"nhsuk-button nhsuk-button--secondary\" data-module=\"nhsuk-button\" type=\"submit\">{}</button>",
        escaped(words)
    )
}

/// A form that is sent; `hidden`: fields that nobody fills in.
pub fn form(action: &str, hidden: &[(&str, &str)], inner: &str) -> String {
    let hidden: String = hidden.iter().map(|(name, value)| hidden_field(name, value)).collect();
    // What is lacking is told by the server, in words: browsers' own bubbles are read out badly, and vanish.
    format!("<form method=\"post\" action=\"{}\" novalidate>{hidden}{inner}</form>", escaped(action))
}

pub fn hidden_field(name: &str, value: &str) -> String {
    format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">", escaped(name), escaped(value))
}

/// Something that was typed is to be mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The field's id; empty where it is of no field.
    pub field: &'static str,
    pub words: String,
}

impl Mistake {
    pub fn new(field: &'static str, words: impl Into<String>) -> Mistake {
        Mistake { field, words: words.into() }
    }
    /// What a field shows beside itself.
    pub fn of<'a>(all: &'a [Mistake], field: &str) -> Option<&'a str> {
        all.iter().find(|mistake| mistake.field == field).map(|mistake| mistake.words.as_str())
    }
}

/// On top of the page, where the keyboard stands first: what is wrong, each linked to its field. Nothing where nothing is.
pub fn error_summary(about: &str, mistakes: &[Mistake]) -> String {
    if about.is_empty() && mistakes.is_empty() {
        return String::new();
    }
    let one = |mistake: &Mistake| match mistake.field {
        "" => format!("<li>{}</li>", escaped(&mistake.words)),
        field => format!("<li><a href=\"#{field}\">{}</a></li>", escaped(&mistake.words)),
    };
    let list = match mistakes {
        [] => String::new(),
        all => format!(
            "<ul class=\"nhsuk-list nhsuk-error-summary__list\">{}</ul>",
            all.iter().map(one).collect::<String>()
        ),
    };
    let about = if about.is_empty() { String::new() } else { paragraph(about) };
    summary_box("tabindex=\"-1\" autofocus", "", &format!("{about}{list}"))
}

/// The same, empty and out of sight: a script puts its words into the element `words`.
pub fn error_summary_to_fill(id: &str, words: &str) -> String {
    summary_box(&format!("tabindex=\"-1\" id=\"{id}\" hidden"), "", &format!("<p id=\"{words}\"></p>"))
}

fn summary_box(attributes: &str, before: &str, body: &str) -> String {
    format!(
        "<div class=\"nhsuk-error-summary\" data-module=\"nhsuk-error-summary\" {attributes}>{before}<div role=\"alert\"><h2 \
         class=\"nhsuk-error-summary__heading\">There is a problem</h2><div class=\"nhsuk-error-summary__body\">{body}</div></div></div>"
    )
}

/// A field for one line of text.
#[derive(Clone, Debug, Default)]
pub struct Input<'a> {
    /// Id and name.
    pub id: &'a str,
    pub label: &'a str,
    /// Empty for none.
    pub hint: &'a str,
    pub error: Option<&'a str>,
    pub value: &'a str,
    pub secret: bool,
    /// Of digits, shown so that they can be compared.
    pub code: bool,
    /// In characters: 2, 3, 4, 5, 10, 20 or 30; 0 is as wide as there is room.
    pub width: u8,
    /// `autocomplete`: how browsers and password keepers fill it in.
    pub autocomplete: &'a str,
    /// Most characters; 0 for any.
    pub longest: u16,
}

impl Input<'_> {
    pub fn html(&self) -> String {
        let id = self.id;
        let (mut class, mut described, mut group) = (String::from("nhsuk-input"), vec![], "nhsuk-form-group");
        if self.code {
            class.push_str(" nhsuk-input--code");
        }
        let mut above = format!("<label class=\"nhsuk-label\" for=\"{id}\">{}</label>", escaped(self.label));
        if !self.hint.is_empty() {
            described.push(format!("{id}-hint"));
            above.push_str(&format!("<div class=\"nhsuk-hint\" id=\"{id}-hint\">{}</div>", escaped(self.hint)));
        }
        if let Some(error) = self.error {
            group = "nhsuk-form-group nhsuk-form-group--error";
            class.push_str(" nhsuk-input--error");
            described.push(format!("{id}-error"));
            above.push_str(&error_message(id, error));
        }
        if self.width > 0 {
            class.push_str(&format!(" nhsuk-input--width-{}", self.width));
        }
        let mut rest = String::new();
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                rest.push_str(&format!(" {name}=\"{}\"", escaped(value)));
            }
        };
        add("value", self.value);
        add("spellcheck", if self.code || self.secret { "false" } else { "" });
        add("aria-describedby", &described.join(" "));
        add("inputmode", if self.code { "numeric" } else { "" });
        add("autocomplete", self.autocomplete);
        add("maxlength", &if self.longest > 0 { self.longest.to_string() } else { String::new() });
        let kind = if self.secret { "password" } else { "text" };
        format!(
            "<div class=\"{group}\">{above}<input class=\"{class}\" id=\"{id}\" name=\"{id}\" type=\"{kind}\"{rest}></div>"
        )
    }
}

fn error_message(id: &str, words: &str) -> String {
    format!(
        "<span class=\"nhsuk-error-message\" id=\"{id}-error\"><span class=\"nhsuk-u-visually-hidden\">Error: </span>{}</span>",
        escaped(words)
    )
}

/// One of a choice.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    pub value: &'a str,
    pub words: &'a str,
    pub hint: &'a str,
    pub chosen: bool,
}

/// One out of several, under the page's heading.
pub fn radios(id: &str, name: &str, heading: &str, choices: &[Choice<'_>]) -> String {
    let mut items = String::new();
    for (at, choice) in choices.iter().enumerate() {
        let id = if at == 0 { id.to_owned() } else { format!("{id}-{}", at + 1) };
        let checked = if choice.chosen { " checked" } else { "" };
        items.push_str(&format!(
            "<div class=\"nhsuk-radios__item\"><input class=\"nhsuk-radios__input\" id=\"{id}\" name=\"{name}\" type=\"radio\" \
             value=\"{}\"{checked} aria-describedby=\"{id}-item-hint\"><label class=\"nhsuk-label nhsuk-radios__label\" \
             for=\"{id}\">{}</label><div class=\"nhsuk-hint nhsuk-radios__hint\" id=\"{id}-item-hint\">{}</div></div>",
            escaped(choice.value),
            escaped(choice.words),
            escaped(choice.hint),
        ));
    }
    format!(
        "<div class=\"nhsuk-form-group\"><fieldset class=\"nhsuk-fieldset\"><legend class=\"nhsuk-fieldset__legend \
         nhsuk-fieldset__legend--l\"><h1 class=\"nhsuk-fieldset__heading\">{}</h1></legend><div class=\"nhsuk-radios\" \
         data-module=\"nhsuk-radios\">{items}</div></fieldset></div>",
        escaped(heading)
    )
}
