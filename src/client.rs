use std::net::IpAddr;

/// The client of a request, for the list of a user's devices. No decision depends on it, because both fields
/// can be forged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Client {
    /// The client's address.
    pub ip: Option<IpAddr>,
    /// The client's `User-Agent`, cleaned.
    pub user_agent: Option<String>,
}

impl Client {
    const MAX_USER_AGENT: usize = 256;

    /// A client about which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the address. An IPv4 address in the form of IPv6 (`::ffff:192.0.2.1`, as from a socket for both)
    /// becomes an IPv4 address.
    #[must_use]
    pub fn ip(mut self, ip: impl Into<Option<IpAddr>>) -> Self {
        self.ip = ip.into().map(|ip| ip.to_canonical());
        self
    }

    /// The address as a database stores it.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn address(&self) -> Option<String> {
        self.ip.map(address)
    }

    /// Sets the user agent, without control characters, and cut to 256 characters.
    #[must_use]
    pub fn user_agent(mut self, agent: &str) -> Self {
        let cleaned: String =
            agent.chars().filter(|c| !c.is_control()).take(Self::MAX_USER_AGENT).collect();
        self.user_agent = Some(cleaned).filter(|agent| !agent.is_empty());
        self
    }
}

/// The address as a database stores it.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) fn address(ip: IpAddr) -> String {
    ip.to_canonical().to_string()
}

/// The address that a database has stored.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_agent_is_cleaned_and_cut() {
        let agent = Client::new().user_agent("a\u{0}b\u{1b}[31m\u{9f}c\n").user_agent;
        assert_eq!(agent.as_deref(), Some("ab[31mc"));
        assert_eq!(
            Client::new().user_agent(&"é".repeat(300)).user_agent.unwrap().chars().count(),
            256
        );
        assert_eq!(Client::new().user_agent("\n").user_agent, None);
    }
}
