use std::net::IpAddr;

/// Who is at the other end, for the list of a user's devices. Never part of a decision: both can be
/// forged.
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

    /// A client of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the address. An IPv4 address that is written as IPv6 (`::ffff:192.0.2.1`, as a socket
    /// for both has it) is taken as the IPv4 address.
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

    /// Sets the user agent: control characters are removed, and what is beyond 256 characters is
    /// cut.
    #[must_use]
    pub fn user_agent(mut self, agent: &str) -> Self {
        let cleaned: String =
            agent.chars().filter(|c| !c.is_control()).take(Self::MAX_USER_AGENT).collect();
        self.user_agent = Some(cleaned).filter(|agent| !agent.is_empty());
        self
    }
}

/// As a database stores it.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) fn address(ip: IpAddr) -> String {
    ip.to_canonical().to_string()
}

/// As it is shown, read from a database.
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
