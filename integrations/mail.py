"""Mail to people, by one SMTP server."""

import asyncio
import hashlib
import smtplib
import ssl
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

from models.ports import OutcomeUnknown, Refused, Unavailable

SECONDS = 15.0
PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
FOR_GOOD = 500  # a reply of 5xx is final, one of 4xx is for now


class Mail:
    """Notifier: `smtp://`, `smtp+starttls://` or `smtps://[user:password@]host[:port]?from=address`."""

    def __init__(self, url: str) -> None:
        """Raises ValueError for an address of another kind or without a sender."""
        parts = urlsplit(url)
        sender = dict(pair.partition("=")[::2] for pair in parts.query.split("&")).get("from")
        if parts.scheme not in PORTS or not parts.hostname or not sender:
            raise ValueError("SMTP_URL must look like smtp://user:password@host:port?from=office@example.org")
        self._scheme, self._host = parts.scheme, parts.hostname
        self._port = parts.port or PORTS[parts.scheme]
        self._login = (unquote(parts.username or ""), unquote(parts.password or ""))
        self._sender = unquote(sender)

    async def send(self, *, email: str, subject: str, text: str, key: str) -> None:
        """Hand one message to the server. The key makes its Message-ID, by which a mailbox knows a repeat.

        Raises Refused (the server says no for good), Unavailable, OutcomeUnknown.
        """
        domain = self._sender.rpartition("@")[2]
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._sender, email, " ".join(subject.split())
        message["Message-ID"] = f"<{hashlib.sha256(key.encode()).hexdigest()[:32]}@{domain}>"
        message.set_content(text, cte="quoted-printable")  # a server may not take eight bits
        await asyncio.to_thread(self._deliver, message)

    def _deliver(self, message: EmailMessage) -> None:
        try:
            server = self._connected()
        except smtplib.SMTPAuthenticationError as error:
            raise Refused("The mail server refused our login.", code="SMTP_LOGIN") from error
        except (OSError, smtplib.SMTPException) as error:
            raise Unavailable(f"The mail server is not reachable ({type(error).__name__}).") from error
        try:
            server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            raise _refused(next(iter(error.recipients.values()))[0], "the recipient") from error
        except smtplib.SMTPResponseException as error:
            raise _refused(error.smtp_code, "the message") from error
        except (OSError, smtplib.SMTPException) as error:
            raise OutcomeUnknown(f"The mail server did not answer ({type(error).__name__}).") from error
        finally:
            server.close()

    def _connected(self) -> smtplib.SMTP:
        made: Any = smtplib.SMTP_SSL if self._scheme == "smtps" else smtplib.SMTP
        secure = {"context": ssl.create_default_context()} if self._scheme == "smtps" else {}
        server: smtplib.SMTP = made(self._host, self._port, timeout=SECONDS, **secure)
        if self._scheme == "smtp+starttls":
            server.starttls(context=ssl.create_default_context())
        if self._login[0]:
            server.login(*self._login)
        return server


def _refused(code: int, what: str) -> Refused | Unavailable:
    kind = Refused if code >= FOR_GOOD else Unavailable
    return kind(f"The mail server refused {what} ({code}).", code=f"SMTP_{code}")
