"""What CoursePro is answered at once: (method, path below /coursepro/v1) -> who serves it."""

from collections.abc import Mapping

from integrations.coursepro import served_carts, served_prices, served_users
from integrations.coursepro_calls import Served

SERVED: Mapping[tuple[str, str], Served] = {**served_carts.SERVED, **served_prices.SERVED, **served_users.SERVED}
