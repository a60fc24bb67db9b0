"""CoursePro: told what becomes of memberships; the contract is docs/coursepro.md."""
