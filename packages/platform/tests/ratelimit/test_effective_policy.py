from service_platform.ratelimit import Policy, declared_policies, limit
from service_platform.ratelimit.compiled_policies import CompiledPolicies

WRITES = Policy.parse("9/minute", name="writes")


def test_two_endpoints_of_one_name_are_counted_apart_and_a_named_policy_together() -> None:
    def declare(module: str) -> tuple[Policy, ...]:
        async def create() -> None: ...

        create.__module__ = module
        return declared_policies(limit("5/minute")(limit(WRITES)(create)))

    own, shared = zip(declare("items.routes"), declare("orders.routes"), strict=True)
    assert len({CompiledPolicies([policy]).policies[0].counter_key for policy in own}) == 2
    assert {CompiledPolicies([policy]).policies[0].counter_key for policy in shared} == {
        "writes:w60"
    }
