/// A version of FOCUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FocusVersion {
    /// 1.0: 43 columns, and the 5 older names that the validator of 1.0 looks for.
    V1_0,
    /// 1.2: 57 columns.
    V1_2,
}

impl FocusVersion {
    /// As it is written, such as `1.2`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1_0 => "1.0",
            Self::V1_2 => "1.2",
        }
    }
}

/// The columns of a version, in order.
pub(super) fn names(version: FocusVersion) -> impl Iterator<Item = &'static str> {
    let (names, more) = match version {
        FocusVersion::V1_0 => (V1_0, ALIASES),
        FocusVersion::V1_2 => (V1_2, ""),
    };
    names.split_whitespace().chain(more.split_whitespace())
}

/// Columns of our own, which both validators let pass.
pub(super) fn token_names(wanted: bool) -> impl Iterator<Item = &'static str> {
    if wanted { TOKEN } else { "" }.split_whitespace()
}

pub(super) fn header(version: FocusVersion, token_columns: bool) -> impl Iterator<Item = &'static str> {
    names(version).chain(token_names(token_columns))
}

const V1_0: &str = "AvailabilityZone BilledCost BillingAccountId BillingAccountName BillingCurrency BillingPeriodEnd \
    BillingPeriodStart ChargeCategory ChargeClass ChargeDescription ChargeFrequency ChargePeriodEnd ChargePeriodStart \
    CommitmentDiscountCategory CommitmentDiscountId CommitmentDiscountName CommitmentDiscountStatus CommitmentDiscountType \
    ConsumedQuantity ConsumedUnit ContractedCost ContractedUnitPrice EffectiveCost InvoiceIssuerName ListCost ListUnitPrice \
    PricingCategory PricingQuantity PricingUnit ProviderName PublisherName RegionId RegionName ResourceId ResourceName \
    ResourceType ServiceCategory ServiceName SkuId SkuPriceId SubAccountId SubAccountName Tags";
const ALIASES: &str = "ResourceID Provider Publisher InvoiceIssuer ChargeType";
const V1_2: &str = "AvailabilityZone BilledCost BillingAccountId BillingAccountName BillingAccountType BillingCurrency \
    BillingPeriodEnd BillingPeriodStart CapacityReservationId CapacityReservationStatus ChargeCategory ChargeClass \
    ChargeDescription ChargeFrequency ChargePeriodEnd ChargePeriodStart CommitmentDiscountCategory CommitmentDiscountId \
    CommitmentDiscountName CommitmentDiscountQuantity CommitmentDiscountStatus CommitmentDiscountType CommitmentDiscountUnit \
    ConsumedQuantity ConsumedUnit ContractedCost ContractedUnitPrice EffectiveCost InvoiceId InvoiceIssuerName ListCost \
    ListUnitPrice PricingCategory PricingCurrency PricingCurrencyContractedUnitPrice PricingCurrencyEffectiveCost \
    PricingCurrencyListUnitPrice PricingQuantity PricingUnit ProviderName PublisherName RegionId RegionName ResourceId \
    ResourceName ResourceType ServiceCategory ServiceName ServiceSubcategory SkuId SkuMeter SkuPriceDetails SkuPriceId \
    SubAccountId SubAccountName SubAccountType Tags";
const TOKEN: &str = "x_AmountBaseUnits x_Asset x_FromHeight x_ToHeight x_Basis";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_columns_as_the_versions_have() {
        assert_eq!(V1_0.split_whitespace().count(), 43);
        assert_eq!(V1_2.split_whitespace().count(), 57);
        for columns in [V1_0, V1_2] {
            assert!(columns.split_whitespace().is_sorted());
        }
        assert_eq!(header(FocusVersion::V1_0, true).count(), 53);
    }
}
